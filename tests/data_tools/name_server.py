"""Names that end in `.test`, standing for whatever a test says, one answer after another."""

import socket

import pytest

Answer = str | tuple[str, ...] | OSError


def name_server(monkeypatch: pytest.MonkeyPatch, *answers: Answer) -> list[str]:
    """Answer the first look-up with the first answer, and so on; the last one stays.

    :return: the names that were looked up, as they are.
    """
    asked: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *rest: int, **named: int) -> list[object]:
        if not host.endswith(".test"):
            return list(real(host, port, *rest, **named))
        asked.append(host)
        answer = answers[min(len(asked), len(answers)) - 1]
        if isinstance(answer, OSError):
            raise answer
        addresses = (answer,) if isinstance(answer, str) else answer
        # As the system would: an address of IPv6 that wraps one of IPv4 is left as it is.
        kinds = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(kinds[":" in text], socket.SOCK_STREAM, 6, "", (text, port)) for text in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked
