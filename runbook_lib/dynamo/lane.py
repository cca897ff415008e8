"""One table of one side: what it accepted and refused lately, and the rate that follows. Not thread-safe."""

from dataclasses import dataclass

WINDOW = 0.5  # seconds over which a table's refusals are counted; longer, up to MAX_WINDOW, to have SAMPLE requests
MAX_WINDOW = 2.0
SAMPLE = 20
FLOOR = 1.0  # requests a second that a table keeps
MARGIN = 1.25  # how much more is sent than was accepted, where only a part was refused
STEP = 0.25  # of the rate it was lowered to, that it grows by in each window without refusals, and
PEAK_STEP = 0.02  # of the rate at which it was first refused: whichever is more
KEEP_WINDOWS = 10  # how long a rate is kept that lowering did not help
BURST = 0.1


@dataclass
class Slots:
    """Places in a queue: each taker is told how long to wait until its units are due."""

    rate: float | None
    burst: float  # seconds of unused rate that may be made up for
    due: float = float("-inf")

    def take(self, units: float, now: float) -> float:
        """Seconds to wait."""
        if self.rate is None:
            return 0.0
        self.due = max(self.due, now - self.burst) + units / self.rate
        return self.due - now


@dataclass
class _Window:
    rate: float
    share: float  # of the requests that was refused
    accepted: float  # a second


class Lane:
    """A table of one side.

    Its rate is halved in a window in which it refused most; where it refused less, lowered towards what it accepts. Then
    it grows by the same amount in each window, so that others who use the table keep their part, until it is no longer
    what holds the run back.
    """

    def __init__(self) -> None:
        self.slots = Slots(None, BURST)
        self.reason = ""
        self.accepts = 0
        self.observed = 0.0  # requests a second in the last window
        self._peak = 0.0  # requests a second when it was first refused
        self._low = 0.0  # the rate that it was last lowered to
        self._before: _Window | None = None  # what the rate was lowered for
        self._keep = 0  # windows for which the rate is not lowered
        self._since: float | None = None
        self._sent = 0
        self._refused = 0.0

    def count(self, now: float, refused: float = 0.0) -> None:
        """Notes a request, and which share of it was refused."""
        if self._since is None:  # a window begins with its first request, not when the last one ended
            self._since = now
        self._sent += 1
        self._refused += refused
        self.accepts += refused <= 0.5
        elapsed = now - self._since
        if elapsed < WINDOW or (self._refused and self._sent < SAMPLE and elapsed < MAX_WINDOW):
            return
        self.observed = self._sent / elapsed
        self.slots.rate = self._next_rate(self.observed, self._refused / self._sent)
        self._since, self._sent, self._refused = None, 0, 0.0

    def _next_rate(self, sent: float, share: float) -> float | None:
        """The rate that follows from the requests sent a second and the share of them that was refused."""
        rate, accepted = self.slots.rate, sent * (1 - share)
        before, self._before = self._before, None
        if not share:
            # Far above what the run asks for, the limit limits nothing any more.
            return self._grown(rate) if rate is not None and rate < 1.5 * sent else None
        if rate is None:
            self._peak = sent
        rate = min(rate or sent, sent)
        if share > 0.5:
            return self._lowered(rate / 2)
        if self._keep:
            self._keep -= 1
            return self.slots.rate
        if before and share > 0.8 * before.share and accepted < before.accepted * (1 + rate / before.rate) / 2:
            # Fewer were sent, fewer accepted, as many of them refused: it is not because of how many are sent.
            self._keep = KEEP_WINDOWS
            return before.rate * MARGIN
        factor = min(1.0, (1 - share) * MARGIN)
        if factor < 0.95:
            self._before = _Window(rate, share, accepted)
        return self._lowered(rate * factor)

    def _lowered(self, rate: float) -> float:
        self._low = max(FLOOR, rate)
        return self._low

    def _grown(self, rate: float) -> float:
        return rate + max(STEP * self._low, PEAK_STEP * self._peak)
