# What pyright sees of mypyc: what wiredoctor/core/build.py uses of it.
class Extension:
    name: str
    sources: list[str]
    include_dirs: list[str]

def mypycify(paths: list[str], *, target_dir: str, group_name: str) -> list[Extension]: ...
