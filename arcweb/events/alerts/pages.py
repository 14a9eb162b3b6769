"""Registers the pages of alerts."""

from arcweb.events.alerts import views
from arcweb.registry import Page, register_page

SEE, CHANGE = "events.view_alert", "events.change_alert"

register_page(Page("alerts/", views.alerts, "alerts", "Alerts", "Safety", SEE, order=10))
register_page(
    Page("alerts/test/", views.send_test, "alerts_test", "Send a test", "Safety", CHANGE, listed=False)
)
for _path, _view, _name, _title, _permission in (
    ("alerts/<str:name>/", views.alert, "events_alert_change", "Alert", SEE),
    ("alerts/<str:name>/rule/", views.change_rule, "alert_rule", "Change the rule", CHANGE),
    ("alerts/<str:name>/silence/", views.silence, "alert_silence", "Silence", CHANGE),
    ("alerts/<str:name>/unsilence/", views.unsilence, "alert_unsilence", "End the silence", CHANGE),
):
    register_page(Page(_path, _view, _name, _title, "Safety", _permission, listed=False))
