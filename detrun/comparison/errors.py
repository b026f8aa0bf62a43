"""TIDE's errors: how much AP50 each kind of mistake costs (Bolya et al., TIDE, ECCV 2020, section 3), by hotcoco.

A kind's cost is the AP50 that would be gained if all its mistakes were put right, one kind at a time, so that costs
do not add up.
"""

import msgspec

from detrun.comparison import Comparison, ErrorRow
from detrun.comparison.bootstrap import Progress
from detrun.comparison.detections import NoDetectionsError, matched, stored

# hotcoco's keys, by the words of the paper.
KINDS = {
    "classification": "Cls",
    "localisation": "Loc",
    "both": "Both",
    "duplicate": "Dupe",
    "background": "Bkg",
    "missed": "Miss",
}


def with_errors(comparison: Comparison, progress: Progress) -> Comparison:
    """The comparison with a row for each ranked arm's first run; a flag for each arm without detections."""
    rows, flags = [], []
    for place, arm in enumerate(comparison.arms):
        try:
            costs = matched(stored(arm.runs[0])).tide_errors()["delta_ap"]
            rows.append(ErrorRow(arm=arm.name, costs={name: costs[key] for name, key in KINDS.items()}))
        except NoDetectionsError as error:
            flags.append(f"no error analysis: {arm.name}: {error}")
        progress((place + 1) / len(comparison.arms))
    return msgspec.structs.replace(comparison, errors=tuple(rows)).flagged(flags)
