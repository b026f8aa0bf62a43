"""Darknet's building block and its two backbones. Modules are registered in the order of darknet's files."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import leaky_relu, max_pool2d, pad


class ConvBlock(nn.Module):
    """Convolution without bias, batch normalisation and LeakyReLU of slope 0.1; "same" padding.

    (B, inputs, H, W) to (B, outputs, H / stride, W / stride). Darknet's `[convolutional]` with
    `batch_normalize=1`; its rolling average of .99 is a momentum of .01 in torch.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.01)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(self.norm(self.conv(x)), 0.1, inplace=True)


class Residual(nn.Module):
    """x + 3x3(1x1(x)) with half the channels in between; keeps the shape. Table 1 of YOLOv3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = ConvBlock(channels, channels // 2, 1)
        self.widen = ConvBlock(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        wide: Tensor = self.widen(self.narrow(x))
        return x + wide


class DarkNet53(nn.Module):
    """The 52 convolutions of DarkNet-53 (Redmon and Farhadi 2018, table 1) without the classifier.

    (B, 3, H, W) to three maps, finest first: C3 (B, 256, H/8, W/8), C4 (B, 512, H/16, W/16) and
    C5 (B, 1024, H/32, W/32).
    """

    channels = (256, 512, 1024)

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBlock(3, 32, 3)
        depths = {64: 1, 128: 2, 256: 8, 512: 8, 1024: 4}
        self.stages = nn.ModuleList(
            nn.Sequential(ConvBlock(width // 2, width, 3, stride=2), *(Residual(width) for _ in range(depth)))
            for width, depth in depths.items()
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x)
        maps = [x := stage(x) for stage in self.stages]
        return tuple(maps[2:])


class DarkNetTiny(nn.Module):
    """The seven convolutions of yolov3-tiny's trunk (layers 0 to 12 of its cfg).

    (B, 3, H, W) to three maps, finest first: C3 (B, 128, H/8, W/8), C4 (B, 256, H/16, W/16) and
    C5 (B, 1024, H/32, W/32). yolov3-tiny itself has no use for the first.
    """

    channels = (128, 256, 1024)

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 128, 256, 512, 1024)
        self.convs = nn.ModuleList(ConvBlock(a, b, 3) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        first, *fine, sixth, seventh = self.convs
        x = first(x)
        maps = [x := conv(max_pool2d(x, 2)) for conv in fine]
        coarse = seventh(_same_max_pool(sixth(max_pool2d(x, 2))))
        return (*maps[-2:], coarse)


def _same_max_pool(x: Tensor) -> Tensor:
    """2x2 maximum at stride 1 that keeps the shape: darknet pads one column right and one row below."""
    return max_pool2d(pad(x, (0, 1, 0, 1), value=float("-inf")), 2, stride=1)
