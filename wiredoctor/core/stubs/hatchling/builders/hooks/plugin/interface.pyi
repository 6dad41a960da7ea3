# What pyright sees of hatchling: what wiredoctor/core/build.py uses of it, which is not installed where pyright runs.
class Application:
    def display_info(self, message: str) -> None: ...
    def display_warning(self, message: str) -> None: ...

class BuildHookInterface:
    app: Application
