"""PlatformIO's view of the tinyfed boards: compilers come from PATH, boards from the project's boards_dir."""

from platformio.platform.base import PlatformBase


class TinyfedPlatform(PlatformBase):
    """A platform without packages: nothing is fetched from a registry."""

    def is_embedded(self) -> bool:
        return True
