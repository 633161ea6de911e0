"""CSI Identity, Controller and GroupController, over the objects of the API."""
