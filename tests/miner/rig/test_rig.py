from __future__ import annotations

from miner.config import Configuration
from miner.rig.rig import Rig


def test_a_rig_that_never_started_or_followed_can_be_asked_to_look_and_to_stop_following() -> None:
    rig = Rig(Configuration(), None, guard=[])
    rig.look_again()
    rig.unfollow()
    rig.close()
