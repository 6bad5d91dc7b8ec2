"""Runs that go on without their page, on a run that plays events."""

import threading

import pytest

from app.engine.events import Cancelled, Failed, Finished, Made, Progress
from app.schema.recipe import Recipe
from app.service.live_runs import UNSEEN, Followers, LiveRun, LiveRuns

RECIPE = Recipe.make(seed=3)
END = Finished((), (), 1.0, 1, 1)


class Played:
    """A run whose events come when the test puts them."""

    recipe = RECIPE

    def __init__(self, *events):
        self.events, self.there = list(events), threading.Condition()
        self.previews, self.cancelled = True, False

    def put(self, *events):
        with self.there:
            self.events += events
            self.there.notify()

    def show_previews(self, wanted):
        self.previews = wanted

    def cancel(self):
        self.cancelled = True
        self.put(Cancelled())

    def __iter__(self):
        while True:
            with self.there:
                self.there.wait_for(lambda: self.events)
                event = self.events.pop(0)
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, Finished | Failed | Cancelled):
                return


def live(*events, **more):
    run = Played(*events)
    return run, LiveRun(run, lambda image, recipe: (image, recipe), **more)


def progress(step, look=None):
    return Progress(step, 9, 1.0, (look,), None, step)


def test_images_are_kept_while_nobody_looks_and_a_follower_sees_the_end():
    _, run = live(progress(1), Made(0, "image", RECIPE), END)
    assert list(run.follow())[-1] is END
    assert run.made == [("image", RECIPE)] and list(run.follow()) == [END]


def test_whoever_leaves_leaves_the_run_as_it_is():
    played, run = live()
    first = run.follow()
    next(first)
    first.close()
    played.put(progress(1), END)
    assert list(run.follow())[-1] is END and not played.cancelled


def test_two_pages_follow_one_run():
    played, run = live()
    ends = []
    threads = [threading.Thread(target=lambda: ends.append(list(run.follow())[-1])) for _ in range(2)]
    for thread in threads:
        thread.start()
    played.put(progress(1), END)
    for thread in threads:
        thread.join(20)
    assert ends == [END, END]


def test_previews_are_wanted_only_while_somebody_looks():
    played, run = live()
    pages = run.follow()
    next(pages)
    played.put(progress(1, look="a preview"))
    event = next(pages)
    assert event.previews == ("a preview",) and played.previews
    pages.close()
    played.put(progress(2, look="another"))
    while played.previews:  # until it was taken, and nobody looked at it
        threading.Event().wait(0.001)
    assert next(run.follow()).previews == ("another",) and played.previews


def test_an_error_of_the_run_is_its_end_in_words():
    _, run = live(progress(1), ValueError("of the engine"))
    assert "ValueError" in list(run.follow())[-1].reason


def test_on_a_public_server_what_nobody_follows_ends_after_a_while():
    played, run = live(patience=0.05)
    pages = run.follow()
    next(pages)
    assert not played.cancelled
    pages.close()
    while not played.cancelled:
        threading.Event().wait(0.01)
    assert isinstance(list(run.follow())[-1], Cancelled)


def test_who_comes_back_in_time_keeps_it():
    given_up = []
    left = threading.Event()
    followers = Followers(lambda: (given_up.append(1), left.set()), patience=0.5)  # longer than a busy machine sleeps
    with followers:
        pass
    with followers:
        assert followers
        assert not left.wait(0.8) and not given_up
    assert left.wait(30) and given_up == [1] and not followers


def test_a_page_keeps_its_own_runs_or_takes_over_those_of_a_closed_tab():
    runs = LiveRuns()
    (_, mine), (_, next_one), (_, other), (_, theirs) = (live() for _ in range(4))
    for place, run in ((("me", "1"), mine), (("me", "1"), next_one), (("me", "2"), other), (("you", "1"), theirs)):
        runs.add(place, run)
    runs.adopt(("me", "1"))
    assert runs.of(("me", "1")) == [mine, next_one] and runs.of(("me", "2")) == [other]
    pages = mine.follow()
    next(pages)
    runs.adopt(("me", "3"))
    assert runs.of(("me", "3")) == [other] and runs.of(("me", "2")) == []
    runs.adopt(("me", "4"))
    assert runs.of(("me", "4")) == [other], "nobody follows it: its tab may be closed, too"
    runs.seen(other)
    runs.adopt(("me", "5"))
    assert runs.of(("me", "5")) == [], "what waits for a run that another tab shows is not taken from it"
    pages.close()
    runs.adopt(("me", "5"))
    assert runs.of(("me", "5")) == [mine, next_one]
    runs.adopt(("nobody", "1"))
    assert runs.of(("nobody", "1")) == []


@pytest.mark.parametrize("end, left", [(END, UNSEEN), (progress(1), UNSEEN + 5)])
def test_ended_runs_that_nobody_comes_back_for_make_room(end, left):
    runs = LiveRuns()
    for n in range(UNSEEN + 5):
        _, run = live(end)
        pages = run.follow()
        while next(pages) is not end:
            pass
        pages.close()
        runs.add((str(n), ""), run)
    assert sum(len(runs.of((str(n), ""))) for n in range(UNSEEN + 5)) == left
