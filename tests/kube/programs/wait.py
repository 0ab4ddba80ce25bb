"""An application that does nothing until it is told to end."""

import signal

signal.sigwait({signal.SIGTERM})
