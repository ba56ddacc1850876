"""The library of a token: initialised for threads, restarted as a whole, new after a fork.

Imported only where ``python-pkcs11`` is installed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator

from pkcs11 import PKCS11Error
from pkcs11._pkcs11 import lib
from pkcs11.types import Token as TokenInSlot
from typing_extensions import override

from certctl_core.contracts.signers import SignerUnavailable


class NotStarted(PKCS11Error):
    """The library cannot be loaded or initialised."""


QUIET_SECONDS = 10.0
"""How long a restart waits for calls that are under way, and calls for a restart."""

_OS_LOCKING_OK = 2
_CKR_OK = 0x000
_CKR_CANT_LOCK = 0x00A
_CKR_ALREADY_INITIALIZED = 0x191


class _InitializeArguments(ctypes.Structure):
    _fields_ = [
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    ]


_Call = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)


class _Functions(ctypes.Structure):
    """The beginning of CK_FUNCTION_LIST."""

    _fields_ = [
        ("version", ctypes.c_ubyte * 2),
        ("C_Initialize", _Call),
        ("C_Finalize", _Call),
    ]


class _Loaded(lib):
    """The same library, told that several threads call it.

    By itself ``python-pkcs11`` promises it a single thread, and two that sign would crash it.
    """

    is_ours = True
    has_locks = True

    @override
    def initialize(self) -> None:
        functions = _functions(self.so)
        if functions is None:
            self.has_locks = False
            super().initialize()
            return
        arguments = _InitializeArguments(flags=_OS_LOCKING_OK)
        result = functions.C_Initialize(ctypes.addressof(arguments))
        inherited = _started.get(self.so, os.getpid()) != os.getpid()
        if result == _CKR_ALREADY_INITIALIZED and inherited:
            # A child must not go on with what its parent had open (PKCS#11 v2.40 usage guide §2.5.2).
            functions.C_Finalize(None)
            result = functions.C_Initialize(ctypes.addressof(arguments))
        if result == _CKR_CANT_LOCK:
            self.has_locks = False
            result = functions.C_Initialize(None)
        if result == _CKR_ALREADY_INITIALIZED:
            self.is_ours = False
        elif result != _CKR_OK:
            message = f"C_Initialize failed with 0x{result:X}"
            raise PKCS11Error(message)
        else:
            self.is_ours = True
            _started[self.so] = os.getpid()

    @override
    def finalize(self) -> None:
        functions = _functions(self.so)
        if functions is None:
            super().finalize()
        elif self.is_ours:
            functions.C_Finalize(None)
            _started.pop(self.so, None)


def _functions(path: str) -> _Functions | None:
    """The functions of a library that ``python-pkcs11`` has loaded.

    None for one that makes a new instance of itself for everybody who asks, as p11-kit-client does:
    only ``python-pkcs11`` can initialise the instance that it uses.
    """
    ask = ctypes.CDLL(path).C_GetFunctionList
    first, second = ctypes.POINTER(_Functions)(), ctypes.POINTER(_Functions)()
    if ask(ctypes.byref(first)) != _CKR_OK or ask(ctypes.byref(second)) != _CKR_OK:
        return None
    same = ctypes.addressof(first.contents) == ctypes.addressof(second.contents)
    return first.contents if same else None


class Library:
    """One library in this process. Safe for threads.

    Args:
        path: The shared object.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.users = 0
        self._condition = threading.Condition()
        self._busy = 0
        self._is_restarting = False
        self._generation = 0
        self._loaded: _Loaded | None = None

    @contextlib.contextmanager
    def calls(self) -> Iterator[int]:
        """Make calls inside ``with``; gives the generation, which a restart counts up.

        Raises:
            NotStarted: The library cannot be loaded or initialised.
            SignerUnavailable: Other calls do not return.
        """
        with self._condition:
            if not self._condition.wait_for(self._admits, QUIET_SECONDS):
                raise SignerUnavailable(reason="calls into the token do not return")
            self._start()
            self._busy += 1
            generation = self._generation
        try:
            yield generation
        finally:
            with self._condition:
                self._busy -= 1
                self._condition.notify_all()

    def tokens(self) -> list[TokenInSlot]:
        """The tokens that are there now; call it inside ``calls``."""
        return [] if self._loaded is None else list(self._loaded.get_tokens())

    def restart(self, seen: int) -> None:
        """Finalise and initialise, unless somebody did so since generation ``seen``.

        Every session and handle of the process is void afterwards.

        Raises:
            NotStarted: It does not start again.
            SignerUnavailable: Calls that are under way do not return.
        """
        with self._condition:
            if self._generation != seen:
                return
            self._is_restarting = True
            try:
                if not self._condition.wait_for(lambda: self._busy == 0, QUIET_SECONDS):
                    raise SignerUnavailable(reason="calls into the token do not return")
                if self._generation == seen:
                    self._stop()
                    self._start()
            finally:
                self._is_restarting = False
                self._condition.notify_all()

    def close(self) -> None:
        """Finalise it, once nobody calls it any more."""
        with self._condition:
            if self._condition.wait_for(lambda: self._busy == 0, QUIET_SECONDS):
                self._stop()

    def _admits(self) -> bool:
        is_free = self._busy == 0 or self._loaded is None or self._loaded.has_locks
        return is_free and not self._is_restarting

    def _start(self) -> None:
        if self._loaded is not None:
            return
        try:
            self._loaded = _Loaded(self.path)
        except PKCS11Error as error:
            message = f"the library {self.path} does not start: {error}"
            raise NotStarted(message) from None

    def _stop(self) -> None:
        loaded, self._loaded = self._loaded, None
        self._generation += 1
        if loaded is not None:
            loaded.finalize()


_started: dict[str, int] = {}
"""Which process initialised a library: a child inherits the entry of its parent."""

_libraries: dict[tuple[int, str], Library] = {}
_registry = threading.Lock()


def use_library(path: str) -> Library:
    """The library at a path, shared by everything in this process that uses it."""
    with _registry:
        library = _libraries.setdefault((os.getpid(), path), Library(path))
        library.users += 1
        return library


def leave_library(library: Library) -> None:
    """Say that it is no longer needed; the last one finalises it."""
    with _registry:
        library.users -= 1
        is_last = library.users == 0
        if is_last:
            _libraries.pop((os.getpid(), library.path), None)
    if is_last:
        library.close()
