"""Names in a cluster: DNS labels (RFC 1123), made from names of the contract, each of its own."""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping

LONGEST = 40
"""Of 63 characters that a label may have, what Kubernetes and we put behind a name needs the rest."""
HEADLESS = "-headless"
_YAML_WORDS = frozenset({"false", "n", "no", "null", "off", "on", "true", "y", "yes"})
"""YAML 1.1 does not read these as text, so they are no names here."""


def dns_labels(names: Iterable[str], taken: Collection[str] = ()) -> Mapping[str, str]:
    """A label for each of these names, which begin with a letter: `n_orders` becomes `n-orders`.

    None is in `taken`, is a word of YAML's, or is what the headless Service of another may be called.
    """
    not_free = {*taken, *_YAML_WORDS}
    labels: dict[str, str] = {}
    for name in names:
        label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        if label in not_free:
            label = f"{label}-service"
        if len(label) > LONGEST or label.endswith(HEADLESS) or label in labels.values():
            label = _shortened(label, name)
        labels[name] = label
    return labels


def _shortened(label: str, name: str) -> str:
    """Two names that begin alike stay two: the end is a digest."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{label[: LONGEST - 9].rstrip('-')}-{digest}"
