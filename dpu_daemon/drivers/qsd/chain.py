"""Layers in the daemon: opened from the bottom up, looked at, closed."""

from collections import Counter
from collections.abc import Mapping

from dpu_daemon.drivers.qsd.files import VolumeFiles
from dpu_daemon.drivers.qsd.graph import Node, nodes_in
from dpu_daemon.drivers.qsd.header import read_header
from dpu_daemon.drivers.qsd.layers import Layer, layer_of
from dpu_daemon.drivers.qsd.session import QmpSession
from proto.errors import DpuError
from proto.reasons import Reason

LONGEST_CHAIN = 200
"""More layers than this are a loop, or a chain that no disk should be read through."""


class Chains:
    """The layers of a storage node.

    Args:
        session: of the daemon.
        files: of the layers.
    """

    def __init__(self, session: QmpSession, files: VolumeFiles) -> None:
        self._session = session
        self._files = files

    async def nodes(self) -> dict[str, Node]:
        return nodes_in(await self._session.execute("query-named-block-nodes", {"flat": True}))

    def below(self, layer: Layer, nodes: Mapping[str, Node]) -> str:
        """Path of what a layer stands on; empty for nothing. An open node knows it best."""
        node = nodes.get(layer.name)
        return node.backing if node is not None else read_header(self._files.path(layer.name)).backing

    def users(self, nodes: Mapping[str, Node]) -> Counter[str]:
        """How many layers stand directly on each path."""
        return Counter(self.below(layer, nodes) for layer in self._files.layers())

    def standing_on(self, layer: Layer, nodes: Mapping[str, Node]) -> list[Layer]:
        """The layers that stand directly on this one."""
        path = str(self._files.path(layer.name))
        return [each for each in sorted(self._files.layers()) if self.below(each, nodes) == path]

    async def open(self, top: Layer, image_node: str | None) -> None:
        """Opens a layer for writing, over all that it stands on; what is open already is left.

        Args:
            top: the layer.
            image_node: node of the image at the bottom; None for none.

        Raises:
            DpuError: WRONG_STATE (worth repeating) when the image is not open, DATA_LOSS when a layer below is missing.
        """
        nodes = await self.nodes()
        chain, bottom = self._down(top, nodes, image_node)
        below = bottom
        for layer in reversed(chain):
            if layer.name not in nodes:
                await self._add(layer, below, read_only=layer != top)
            below = layer.name

    def _down(self, top: Layer, nodes: Mapping[str, Node], image_node: str | None) -> tuple[list[Layer], str | None]:
        """The layer and those below it, and the node of the image under them."""
        chain = [top]
        while path := self.below(chain[-1], nodes):
            layer = self.own(path)
            if layer is None:
                return chain, self._image(chain[-1], path, nodes, image_node)
            if not self._files.path(layer.name).exists() or len(chain) > LONGEST_CHAIN:
                message = f"layer {layer.name}, which {chain[-1].name} stands on, is lost"
                raise DpuError(Reason.DATA_LOSS, message, remedy="restore its file from a backup")
            chain.append(layer)
        return chain, None

    def _image(self, layer: Layer, path: str, nodes: Mapping[str, Node], image_node: str | None) -> str:
        node = nodes.get(image_node or "")
        if node is None or node.filename != path:
            message = f"the image of {layer.name} is not open"
            raise DpuError(Reason.WRONG_STATE, message, remedy="open the image first", retry=True)
        return node.name

    def own(self, path: str) -> Layer | None:
        """The layer whose file this is; None for a file elsewhere, which can only be an image."""
        name = path.removeprefix(f"{self._files.directory}/")
        layer = layer_of(name.removesuffix(".qcow2"))
        return layer if layer is not None and str(self._files.path(layer.name)) == path else None

    async def _add(self, layer: Layer, below: str | None, *, read_only: bool) -> None:
        file = {"driver": "file", "filename": str(self._files.path(layer.name)), "discard": "unmap"}
        await self._session.execute(
            "blockdev-add",
            {
                "driver": "qcow2",
                "node-name": layer.name,
                "read-only": read_only,
                "discard": "unmap",
                "file": file,
                "backing": below,
            },
        )

    async def add_loose(self, layer: Layer) -> None:
        """Opens a fresh layer that stands on nothing yet: a snapshot puts it on its volume."""
        await self._add(layer, None, read_only=False)

    async def close(self, layer: Layer) -> None:
        """Closes one layer; those below stay open."""
        if layer.name in await self.nodes():
            await self._session.execute("blockdev-del", {"node-name": layer.name})
