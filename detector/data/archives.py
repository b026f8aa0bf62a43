"""The public data sets that can be fetched: where they are, what they must be, and where they go. A table, no I/O.

Checksums: of COCO as GluonCV's `mscoco.py` states them (SHA-1), of VOC as torchvision's `voc.py` does (MD5); they tell
a damaged download, not a forged one. GitHub makes archives as they are asked for, and promises no checksum; it writes
the commit into the zip file's comment, which is compared instead, and every member has its own CRC-32.
"""

from typing import NamedTuple

_COCO = "http://images.cocodataset.org"
_VOC = "http://host.robots.ox.ac.uk/pascal/VOC/voc2007"
_BCCD = "d272fb14cdff6e473fafeeeba32aba5f560e9e43"


class Archive(NamedTuple):
    """One file to download and unpack.

    Attributes:
        url: where it is.
        size: bytes; 0 where that is not known.
        checksum: `algorithm:hexadecimal`; empty where none is known.
        inside: the folder in it whose content is unpacked; empty for all.
        comment: what a zip file's comment must be.
    """

    url: str
    size: int = 0
    checksum: str = ""
    inside: str = ""
    comment: str = ""

    @property
    def name(self) -> str:
        """Its file name."""
        return self.url.rsplit("/", 1)[-1]


DATA_SETS: dict[str, tuple[Archive, ...]] = {
    "coco2017": (
        Archive(
            url=f"{_COCO}/annotations/annotations_trainval2017.zip",
            size=252_907_541,
            checksum="sha1:8551ee4bb5860311e79dace7e79cb91e432e78b3",
        ),
        Archive(
            url=f"{_COCO}/zips/val2017.zip",
            size=815_585_330,
            checksum="sha1:4950dc9d00dbe1c933ee0170f5797584351d2a41",
        ),
        Archive(
            url=f"{_COCO}/zips/train2017.zip",
            size=19_336_861_798,
            checksum="sha1:10ad623668ab00c62c096f0ed636d6aff41faca5",
        ),
    ),
    "voc2007": (
        Archive(
            url=f"{_VOC}/VOCtrainval_06-Nov-2007.tar",
            size=460_032_000,
            checksum="md5:c52e279531787c972589f7e41ab4ae64",
            inside="VOCdevkit/VOC2007",
        ),
        Archive(
            url=f"{_VOC}/VOCtest_06-Nov-2007.tar",
            size=451_020_800,
            checksum="md5:b6e924de25625d8de591ea690078ad9f",
            inside="VOCdevkit/VOC2007",
        ),
    ),
    "bccd": (
        Archive(
            url=f"https://github.com/Shenggan/BCCD_Dataset/archive/{_BCCD}.zip",
            inside=f"BCCD_Dataset-{_BCCD}/BCCD",
            comment=_BCCD,
        ),
    ),
}
