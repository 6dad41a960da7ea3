# The part of hatchling that pyright needs, because wiredoctor/core/build.py uses it and hatchling is not installed there.
class Application:
    def display_info(self, message: str) -> None: ...
    def display_warning(self, message: str) -> None: ...

class BuildHookInterface:
    app: Application
