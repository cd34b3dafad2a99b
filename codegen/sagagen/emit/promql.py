"""The queries that dashboards and rules share, each in one place. Metric names are those of docs/metrics.md."""

from sagagen.contract.model import Saga
from sagagen.emit.saga_tree import longest_s
from sagagen.runtime.model.buckets import SAGA_BUCKETS_S

RATE = "$__rate_interval"
"""Grafana's own: at least four scrapes."""


def selector(**labels: str) -> str:
    """`{saga="place_order",step="charge_payment"}`; empty without labels."""
    inner = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def rate(metric: str, by: str, window: str = RATE, **labels: str) -> str:
    """A counter's rate a second, summed over processes."""
    return f"sum by ({by}) (rate({metric}{selector(**labels)}[{window}]))"


def quantile(share: float, histogram: str, by: str = "", window: str = RATE, **labels: str) -> str:
    """A quantile of a histogram, over processes."""
    grouped = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({grouped}) (rate({histogram}_bucket{selector(**labels)}[{window}])))"


def late_ratio(saga: Saga, window: str) -> str:
    """The share of a saga's runs that took longer than they may, of those that ended within `window`."""
    ended, of = "sagagen_saga_duration_seconds", {"saga": saga.name}
    in_time = selector(**of, le=_bucket(longest_s(saga)))
    return f"1 - sum(rate({ended}_bucket{in_time}[{window}])) / sum(rate({ended}_count{selector(**of)}[{window}]))"


def _bucket(longest: float) -> str:
    """The first bucket that holds every run that ends in time, as Prometheus writes its bound."""
    bound = next((bound for bound in SAGA_BUCKETS_S if bound >= longest), None)
    return "+Inf" if bound is None else f"{bound:.1f}" if bound == int(bound) else repr(bound)
