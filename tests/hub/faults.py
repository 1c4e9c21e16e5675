"""What goes wrong on the way to a Hub and back."""

from dataclasses import dataclass
from typing import Literal

Fault = Literal[409, 412, 429, 500, 503, "drop_before", "drop_after", "html", "gated"]


@dataclass(slots=True)
class Planned:
    """A fault for requests of a route: `skip` of them pass first, then `times` fail."""

    route: str
    fault: Fault
    times: int
    skip: int


class Faults:
    """The faults that are still to come.

    A status is answered without anything being done. `drop_before` closes the connection likewise;
    `drop_after` does what was asked, and closes it without a reply; `html` does it, and a proxy's
    page is the reply. `gated` refuses as the Hub does whose conditions were not accepted.
    """

    def __init__(self) -> None:
        self._planned: list[Planned] = []

    def inject(self, route: str, fault: Fault, times: int = 1, skip: int = 0) -> None:
        """Plan a fault."""
        self._planned.append(Planned(route, fault, times, skip))

    def take(self, route: str) -> Fault | None:
        """Return the fault of this request, if it is one's turn."""
        for planned in self._planned:
            if planned.route != route or not planned.times:
                continue
            if planned.skip:
                planned.skip -= 1
                continue
            planned.times -= 1
            return planned.fault
        return None
