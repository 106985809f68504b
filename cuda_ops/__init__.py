"""upfirdn2d, bias_act and modulated_epilogue: what StyleGAN-style networks need beside convolution."""

from cuda_ops.activation import bias_act
from cuda_ops.backend import backend_info, use_backend
from cuda_ops.convolution import conv3x3, conv3x3_down, conv3x3_up
from cuda_ops.epilogue import modulated_epilogue
from cuda_ops.resample import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d
from cuda_ops.residual import residual_block

__all__ = [
    "backend_info",
    "bias_act",
    "conv3x3",
    "conv3x3_down",
    "conv3x3_up",
    "downsample2d",
    "filter2d",
    "modulated_epilogue",
    "residual_block",
    "setup_filter",
    "upfirdn2d",
    "upsample2d",
    "use_backend",
]
