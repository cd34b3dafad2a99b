"""What a process reports of itself: metrics, spans and log lines.

What lives here: counters and histograms of one thread (`instruments`, `buckets`) and all that there are (`metrics`),
spans (`spans`) and their encoding (`otlp`, in an exporter of OpenTelemetry's by `otlp_exporter`), the form of log lines
(`logs`), and what leaves the process (`export`). What may not: when something is counted. That is said where it
happens, in the `observation` modules of the other rooms.

The public face is `metrics`, `spans.active`, `logs.configure_logs` and `export.exporting`.
"""
