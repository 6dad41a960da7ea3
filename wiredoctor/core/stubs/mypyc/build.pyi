# The part of mypyc that pyright needs, because wiredoctor/core/build.py uses it.
class Extension:
    name: str
    sources: list[str]
    include_dirs: list[str]

def mypycify(paths: list[str], *, target_dir: str, group_name: str, multi_file: bool) -> list[Extension]: ...
