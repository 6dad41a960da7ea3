"""Build a repository of small packages for a package manager: python repositories.py apt|go|cargo|maven|pip FOLDER."""

from __future__ import annotations

import hashlib
import io
import json
import random
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

COUNT = 12
URL = "http://10.9.0.2:8080"


def content(number: int) -> bytes:
    """Return 2 to 90 kB that do not compress, the same for each number."""
    return random.Random(number).randbytes(2_000 + number * 8_000)


def apt(folder: Path) -> None:
    """Build Debian packages and their index."""
    for n in range(COUNT):
        tree = folder.parent / f"deb{n}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN" / "control").write_text(
            f"Package: lab{n}\nVersion: 1.{n}\nArchitecture: all\nMaintainer: Lab <lab@example.com>\nDescription: lab\n"
        )
        (tree / "file").write_bytes(content(n))
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(folder / f"lab{n}_1.{n}_all.deb")], check=True)
    index = subprocess.run(["dpkg-scanpackages", "-m", "."], cwd=folder, capture_output=True, check=True).stdout
    (folder / "Packages").write_bytes(index)


def go(folder: Path) -> None:
    """Build modules as a module proxy serves them."""
    for n in range(COUNT):
        name = f"example.com/lab{n}"
        versions = folder / name / "@v"
        versions.mkdir(parents=True)
        module = f"module {name}\n\ngo 1.19\n"
        (versions / "list").write_text("v1.0.0\n")
        (versions / "v1.0.0.info").write_text('{"Version": "v1.0.0", "Time": "2024-01-01T00:00:00Z"}')
        (versions / "v1.0.0.mod").write_text(module)
        with zipfile.ZipFile(versions / "v1.0.0.zip", "w") as packed:
            packed.writestr(f"{name}@v1.0.0/go.mod", module)
            packed.writestr(f"{name}@v1.0.0/lab.go", f"package lab{n}\n")
            packed.writestr(f"{name}@v1.0.0/data", content(n))


def cargo(folder: Path) -> None:
    """Build crates and their sparse index."""
    (folder / "index" / "la" / "bc").mkdir(parents=True)
    (folder / "crates").mkdir()
    (folder / "index" / "config.json").write_text(json.dumps({"dl": URL + "/crates/{crate}.crate"}))
    for n in range(COUNT):
        name, packed = f"labcrate{n}", io.BytesIO()
        files = {
            "Cargo.toml": f'[package]\nname = "{name}"\nversion = "0.1.0"\n'.encode(),
            "src/lib.rs": b"",
            "data": content(n),
        }
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for path, text in files.items():
                info = tarfile.TarInfo(f"{name}-0.1.0/{path}")
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text))
        (folder / "crates" / f"{name}.crate").write_bytes(packed.getvalue())
        entry = {"name": name, "vers": "0.1.0", "deps": [], "features": {}, "yanked": False}
        entry["cksum"] = hashlib.sha256(packed.getvalue()).hexdigest()
        (folder / "index" / "la" / "bc" / name).write_text(json.dumps(entry) + "\n")


def maven(folder: Path) -> None:
    """Build poms, each of which has the next one as its parent."""
    for n in range(COUNT):
        place = folder / "lab" / f"lab{n}" / "1"
        place.mkdir(parents=True)
        parent = f"<parent><groupId>lab</groupId><artifactId>lab{n + 1}</artifactId><version>1</version></parent>"
        own = f"<groupId>lab</groupId><artifactId>lab{n}</artifactId><version>1</version><packaging>pom</packaging>"
        text = f"<project><modelVersion>4.0.0</modelVersion>{parent if n < COUNT - 1 else ''}{own}</project>"
        (place / f"lab{n}-1.pom").write_text(text)


def pip(folder: Path) -> None:
    """Build wheels and their simple index."""
    for n in range(COUNT):
        page = folder / "simple" / f"lab{n}"
        page.mkdir(parents=True)
        wheel = f"lab{n}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(page / wheel, "w") as packed:
            packed.writestr(f"lab{n}/__init__.py", "")
            packed.writestr(f"lab{n}/data", content(n))
            packed.writestr(f"lab{n}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: lab{n}\nVersion: 1.0\n")
            packed.writestr(f"lab{n}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            packed.writestr(f"lab{n}-1.0.dist-info/RECORD", "")
        (page / "index.html").write_text(f'<!DOCTYPE html><html><body><a href="{wheel}">{wheel}</a></body></html>')


def main() -> None:
    """Build the repository unless it was built before: a server is also started again."""
    sort, folder = sys.argv[1], Path(sys.argv[2])
    if not (folder.parent / "built").exists():
        (folder.parent / "built").touch()
        {"apt": apt, "go": go, "cargo": cargo, "maven": maven, "pip": pip}[sort](folder)


if __name__ == "__main__":
    main()
