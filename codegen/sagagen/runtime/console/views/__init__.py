"""The views, one module each, in the order of the navigation; and the forms that operators send."""

from sagagen.runtime.console.page import Form, View
from sagagen.runtime.console.views import (
    audit,
    definition,
    find,
    group,
    now,
    one_saga,
    orders_waiting,
    payloads,
    sagas,
    services,
    versions,
)

VIEWS: tuple[View, ...] = (
    now.VIEW,
    sagas.VIEW,
    definition.VIEW,
    versions.VIEW,
    services.VIEW,
    audit.VIEW,
    find.VIEW,
    group.VIEW,
    orders_waiting.VIEW,
    orders_waiting.ONE,
    one_saga.VIEW,
    payloads.VIEW,
)
FORMS: tuple[Form, ...] = (*group.FORMS, *orders_waiting.FORMS, *one_saga.FORMS)
