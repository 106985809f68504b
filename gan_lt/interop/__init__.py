"""Networks that travel: StyleGAN2-ADA files in; ONNX, torch.export and the Hugging Face Hub out."""

from gan_lt.interop.onnx_export import export_onnx
from gan_lt.interop.program_export import export_program
from gan_lt.interop.stylegan2_ada import load_stylegan2_ada

__all__ = ["export_onnx", "export_program", "load_stylegan2_ada"]
