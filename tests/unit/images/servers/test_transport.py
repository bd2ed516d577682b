"""Requests: patience, redirects, and who gets to see a password."""

from collections.abc import Callable

import httpx
import pytest

from cloison.base.errors import Remote
from cloison.images.servers import refusals
from cloison.images.servers.transport import Broken, Http, body, origin
from tests.unit.images.servers.conftest import Breaking, Clock

Connect = Callable[..., Http]


def answers(
    *responses: httpx.Response | Exception,
) -> tuple[list[httpx.Request], Callable[[httpx.Request], httpx.Response]]:
    """A server that gives these answers one after another, and what it was asked."""
    asked: list[httpx.Request] = []
    left = list(responses)

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return asked, handler


def test_a_busy_server_is_asked_again_after_the_time_that_it_names(connect: Connect, clock: Clock) -> None:
    asked, handler = answers(httpx.Response(429, headers={"Retry-After": "7"}), httpx.Response(200, text="ok"))
    with connect(handler).asked("GET", "https://h/x") as response:
        assert body(response, 10, what="x") == b"ok"
    assert (len(asked), clock.slept) == (2, [7.0])


def test_a_time_that_is_too_long_is_not_waited_for(connect: Connect, clock: Clock) -> None:
    asked, handler = answers(httpx.Response(429, headers={"Retry-After": "3600"}))
    with connect(handler).asked("GET", "https://h/x") as response:
        assert response.status_code == 429
    assert (len(asked), clock.slept) == (1, [])


def test_a_failing_server_is_asked_a_bounded_number_of_times(connect: Connect, clock: Clock) -> None:
    asked, handler = answers(*[httpx.Response(503)] * 9)
    with connect(handler).asked("GET", "https://h/x") as response:
        assert response.status_code == 503
    assert (len(asked), clock.slept) == (5, [0.25, 0.5, 1.0, 2.0])


def test_a_broken_connection_is_made_again(connect: Connect, clock: Clock) -> None:
    asked, handler = answers(httpx.ConnectError("refused"), httpx.Response(204))
    with connect(handler).asked("GET", "https://h/x") as response:
        assert response.status_code == 204
    assert len(asked) == 2 and clock.slept == [0.25]


def test_what_changes_something_is_sent_once(connect: Connect, clock: Clock) -> None:
    asked, handler = answers(httpx.ReadError("reset"), httpx.Response(201))
    with pytest.raises(Broken), connect(handler).asked("PUT", "https://h/x", content=b"1"):
        pass
    assert len(asked) == 1 and clock.slept == []


def test_a_redirect_to_another_origin_gets_no_credentials(connect: Connect) -> None:
    places = ["https://h/y", "https://h:444/z", "https://other/x"]
    asked, handler = answers(
        *[httpx.Response(307, headers={"Location": place}) for place in places], httpx.Response(200)
    )
    with connect(handler).asked("GET", "https://h/x", headers={"authorization": "Basic secret"}) as response:
        assert response.status_code == 200
    assert [request.headers.get("authorization") for request in asked] == ["Basic secret"] * 2 + [None] * 2


def test_a_way_back_to_the_origin_gets_no_credentials_either(connect: Connect) -> None:
    places = ["https://other/x", "https://h/y"]
    asked, handler = answers(
        *[httpx.Response(302, headers={"Location": place}) for place in places], httpx.Response(200)
    )
    with connect(handler).asked("GET", "https://h/x", headers={"Authorization": "Bearer t"}):
        pass
    assert [request.headers.get("authorization") for request in asked] == ["Bearer t", None, None]


@pytest.mark.parametrize("place", ["http://h/x", "file:///etc/passwd", "ftp://h/x"])
def test_a_redirect_that_leaves_tls_is_not_followed(connect: Connect, place: str) -> None:
    asked, handler = answers(httpx.Response(302, headers={"Location": place}))
    with pytest.raises(Remote, match="sends on"), connect(handler).asked("GET", "https://h/x"):
        pass
    assert len(asked) == 1


def test_redirects_in_a_circle_end(connect: Connect) -> None:
    asked, handler = answers(*[httpx.Response(302, headers={"Location": "/x"})] * 20)
    with pytest.raises(Remote, match="more than 5 times"), connect(handler).asked("GET", "https://h/x"):
        pass
    assert len(asked) == 6


def test_a_body_has_an_end(connect: Connect) -> None:
    _, handler = answers(httpx.Response(200, content=b"x" * 100))
    with pytest.raises(Remote, match="longer than 99 bytes"), connect(handler).asked("GET", "https://h/x") as response:
        body(response, 99, what="the manifest")


def test_a_body_that_breaks_off_is_an_error(connect: Connect) -> None:
    _, handler = answers(httpx.Response(200, stream=Breaking(b"half")))
    with pytest.raises(Broken, match="broke"), connect(handler).asked("GET", "https://h/x") as response:
        body(response, 99, what="the manifest")


def test_an_answer_that_begins_during_an_abort_is_not_read(connect: Connect) -> None:
    """Nobody could break off what was not open yet; its body might never come."""

    def handler(_request: httpx.Request) -> httpx.Response:
        http.abort()
        return httpx.Response(200, text="late")

    http = connect(handler)
    with pytest.raises(Broken, match="was broken off"), http.asked("GET", "https://h/x"):
        pytest.fail("it is read")


def test_after_an_abort_nothing_is_asked(connect: Connect) -> None:
    asked, handler = answers(httpx.Response(200))
    http = connect(handler)
    http.abort()
    with pytest.raises(Broken), http.asked("GET", "https://h/x"):
        pass
    assert asked == []


def test_an_origin_has_its_port() -> None:
    assert origin("https://H.org/x") == "https://h.org:443" != origin("http://h.org/x") == "http://h.org:80"


def test_retry_after_is_seconds_or_a_date() -> None:
    assert refusals.retry_after_s("120") == 120
    assert refusals.retry_after_s("Thu, 01 Jan 1970 00:01:40 GMT", now_s=40) == 60
    assert refusals.retry_after_s("Thu, 01 Jan 1970 00:01:40 GMT", now_s=400) == 0
    assert refusals.retry_after_s("soon") is refusals.retry_after_s("") is None


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "denied", "cloison login h"),
        (403, "denied", "cloison login h"),
        (404, "not-found", "look at the name"),
        (429, "remote", "answer again in 3m"),
        (500, "remote", "try again later"),
        (418, "remote", ""),
    ],
)
def test_every_status_is_a_sentence_with_what_to_do(status: int, code: str, said: str) -> None:
    problem = refusals.refusal(status, what="docker://h/x:1", host="h", words="because", wait="3m")
    assert problem.code == code and said in problem.hint
    assert "h" in problem.sentence and problem.sentence.endswith(": because")


def test_a_servers_words_cannot_move_the_cursor() -> None:
    assert refusals.words_of(b'{"errors":[{"code":"X","message":"a\\u001b[2Jb\\nc"}]}') == "a [2Jb c"
    assert refusals.words_of(b"<html>") == refusals.words_of(b"[]") == ""
