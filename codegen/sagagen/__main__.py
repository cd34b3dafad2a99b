"""The `sagagen` command, also as `python -m sagagen`."""

import signal


def run() -> None:
    # Until the command takes over, Ctrl-C ends this process without a traceback of the imports. Where it is ignored, as
    # in a background job, it stays ignored.
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from sagagen.cli import main

    if is_ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main(prog_name="sagagen")


if __name__ == "__main__":
    run()
