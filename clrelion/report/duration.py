"""How times are written for people."""

__all__ = ["duration"]


def duration(seconds: float) -> str:
    """Write a time: ``8.9 s``, ``4 min 10 s``, ``3 h 25 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
