"""Schemas that all kinds share: ObjectMeta and its parts, with the list types that merging needs."""

from coordinator.api.objects import Obj

_STRINGS: Obj = {"type": "object", "additionalProperties": {"type": "string"}}

OWNER_REFERENCE: Obj = {
    "type": "object",
    "description": "Names an object that owns this one; this one goes when all its owners are gone.",
    "x-kubernetes-map-type": "atomic",
    "properties": {
        "apiVersion": {"type": "string", "description": "API version of the owner."},
        "kind": {"type": "string", "description": "Kind of the owner."},
        "name": {"type": "string", "description": "Name of the owner."},
        "uid": {"type": "string", "description": "UID of the owner."},
        "controller": {"type": "boolean", "description": "Whether the owner manages this object."},
        "blockOwnerDeletion": {
            "type": "boolean",
            "description": "Whether foreground deletion of the owner waits for this object.",
        },
    },
}

OBJECT_META: Obj = {
    "type": "object",
    "description": "Standard metadata of an object.",
    "properties": {
        "name": {"type": "string", "description": "Name, unique within the namespace."},
        "generateName": {"type": "string", "description": "Prefix of a name that the server completes."},
        "namespace": {"type": "string", "description": "Namespace of the object."},
        "uid": {"type": "string", "description": "Identity in time and space; set by the server."},
        "resourceVersion": {"type": "string", "description": "Version for optimistic concurrency; set by the server."},
        "generation": {"type": "integer", "format": "int64", "description": "Counts changes of what is wanted."},
        "creationTimestamp": {"type": "string", "format": "date-time", "description": "When it was created."},
        "deletionTimestamp": {"type": "string", "format": "date-time", "description": "When deletion was asked for."},
        "deletionGracePeriodSeconds": {
            "type": "integer",
            "format": "int64",
            "description": "Seconds between the request and the deletion.",
        },
        "selfLink": {"type": "string", "description": "Not set any more."},
        "labels": _STRINGS | {"description": "Names and values to select objects by."},
        "annotations": _STRINGS | {"description": "Names and values that tools keep with the object."},
        "finalizers": {
            "type": "array",
            "items": {"type": "string"},
            "x-kubernetes-list-type": "set",
            "description": "What has to be done before the object may go.",
        },
        "ownerReferences": {
            "type": "array",
            "items": OWNER_REFERENCE,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "description": "Objects that own this one.",
        },
        "managedFields": {
            "type": "array",
            "description": "Which writer owns which field; kept by the server.",
            "x-kubernetes-list-type": "atomic",
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    },
}


def conditions(description: str = "What is true of the object now.") -> Obj:
    """A list of conditions, merged by type."""
    return {
        "type": "array",
        "description": description,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }
