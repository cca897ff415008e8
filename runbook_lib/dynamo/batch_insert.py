"""Inserts in batches: up to 25 PartiQL INSERTs in one BatchExecuteStatement, each refused where its key is there.

DynamoDB answers HTTP 200 with a response for each statement, in their order. Only a response that names the table and no
error means inserted. A key that is there is read; a fault that passes is tried again for that statement; whatever else
a statement is refused for is put to a conditional PutItem, whose answer holds. Nothing is ever overwritten.

A key that is there although nobody answered an earlier attempt may be there by that attempt: MaybeOurs says so. Where the
first attempt was answered, and refused, somebody else wrote what is there.
"""

import random
import re
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any

import orjson

from ..errors import Again, DynamoError, Interrupted, NotSent
from . import errors as faults

OPERATION = "BatchExecuteStatement"
STATEMENTS = 25  # DynamoDB's limit for one request
MAX_BYTES = 4 << 20  # of a request: the limit is not documented for this one, and 16 MB for those like it
STATEMENT_BYTES = 8192  # DynamoDB's limit, in characters
TEXTS = 512  # statement texts kept, one for each list of attribute names

Outcome = dict | DynamoError | None


Numbered = list[tuple[int, Any]]  # what belongs to the item of that number in the caller's list

_LOOK = object()  # the key is there, or may be: to be read
_HELD = frozenset({faults.CONDITION_FAILED, "DuplicateItemException"})
# What a single request would be told as well. Not so ValidationException, which may be about the statement, not the item,
# and AccessDeniedException: a right to PartiQLInsert is none to PutItem, nor the other way round.
_FINAL = frozenset({"ItemCollectionSizeLimitExceededException"})
_NO_BATCHES = "the endpoint takes no INSERT statements with parameters"
_BY_ARN = "PartiQL does not reach a table that is named by its ARN"


class Batches:
    """The part of a Wire that inserts, on threads of its own, at most `workers`. Thread-safe."""

    def __init__(self, wire: Any, workers: int):
        self._wire, self._workers = wire, workers
        self._at_once = workers  # requests: see _adapt
        self._single: dict[str, str] = {}  # table -> why it takes no batches, "" where it does: what is certain
        self.singly: dict[str, str] = {}  # table -> why its last insert used single requests; batches: not there
        self._asking = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def why_single(self, table: str, key_names: tuple[str, ...]) -> str:
        """Return why the table takes no parameterized INSERTs in batches, "" where it does. Read-only: it sends no key.

        One attempt, whose answer is kept where it is a definite yes or no. What may be otherwise later is asked again.
        """
        if table.startswith("arn:"):
            return _BY_ARN
        with self._asking:
            if table in self._single:
                return self._single[table]
            name = "runbook"
            while name in key_names:
                name += "_"
            statement = {"Statement": statement_text(table, (name,)), "Parameters": [{"NULL": True}]}
            answer = self._wire._once(OPERATION, {"Statements": [statement]}, table)
            why, certain = _read_probe(answer, key_names)
            if certain:
                self._single[table] = why
            return why

    def insert(
        self,
        table: str,
        items: list[dict],
        key_names: tuple[str, ...],
        unsent: list[int] | None = None,
        keys: Sequence[Hashable] | None = None,
        sizes: Sequence[int] | None = None,
        values: Sequence[bytes | None] | None = None,
        answered: Callable[[int], object] = lambda rows: None,
    ) -> list[Outcome]:
        """As Wire.insert_many."""
        found: list[Any] = [None] * len(items)
        unanswered: set[int] = set()  # items of which a copy may have landed without an answer
        if keys is not None and len(set(keys)) == len(items):
            order, repeats = list(range(len(items))), []
        else:
            order, repeats = _apart(items, key_names)
        # Neighbours of a page may go to one partition: they are spread over the batches, and those go out in any order.
        count = -(-len(order) // STATEMENTS)
        order = [index for first in random.Random(count).sample(range(count), count) for index in order[first::count]]
        batches, singles = [], order
        if len(order) > 1 and (why := self.why_single(table, key_names)):
            self.singly[table] = why
        elif len(order) > 1:
            self.singly.pop(table, None)
            batches, singles = pack(table, items, order, sizes or [len(orjson.dumps(item)) for item in items], values)
        put = partial(self._put, table, items, key_names[0], unanswered)
        tasks = [partial(self._send, table, batch, put, unanswered) for batch in batches]
        tasks += [partial(put, [index]) for index in singles]
        owners = [[index for index, _ in batch] for batch in batches] + [[index] for index in singles]
        began, used = time.perf_counter(), time.process_time()
        for index, outcome in self._concurrently(tasks, owners, [] if unsent is None else unsent, answered):
            found[index] = outcome
        if len(tasks) > 1:
            self._adapt((time.process_time() - used) / max(time.perf_counter() - began, 1e-6))
        theirs = self._shown(table, items, key_names, order)
        look = [i for i, outcome in enumerate(found) if outcome is _LOOK or (outcome is None and i in theirs)]
        gone = self._read(table, items, key_names, look, found)
        for number, index in enumerate(gone + repeats):
            # A key that comes twice: the first has it, so this one gets what the first left there.
            found[index] = _left(partial(put, [index]), sent=number < len(gone))[0][1]
        # Refused for good after an attempt without an answer, which may have landed.
        self._read(table, items, key_names, [i for i in unanswered if isinstance(found[i], DynamoError)], found)
        for index in unanswered - theirs:
            if isinstance(found[index], dict):
                found[index] = faults.MaybeOurs(found[index])
        return found

    def _shown(self, table: str, items: list[dict], names: tuple[str, ...], order: list[int]) -> set[int]:
        """The numbers of items whose key the reply to another request showed: theirs said that somebody else has it."""
        shown = [item for name, item in self._wire.shown if name == table and item.keys() >= set(names)]
        keys = {key_identity(names, item) for item in shown}
        return {index for index in order if keys and key_identity(names, items[index]) in keys}

    def _read(self, table: str, items: list[dict], names: tuple[str, ...], look: list[int], found: list) -> list[int]:
        """Puts in place what is there, and gives the numbers of the items that are not, or cannot be read."""
        try:
            held = self._wire.get_many(table, [{name: items[index][name] for name in names} for index in look])
        except DynamoError:  # a refused PutItem tells what is there, too
            return look
        for index, item in zip(look, held, strict=True):
            if item is not None:
                found[index] = item
        return [index for index, item in zip(look, held, strict=True) if item is None]

    def _put(
        self, table: str, items: list[dict], partition_key: str, unanswered: set[int], indexes: list[int]
    ) -> Numbered:
        done: Numbered = []
        for index in indexes:
            lost: list[str] = []
            try:
                done.append((index, self._wire.put_new(table, items[index], partition_key, unanswered=lost)))
            except DynamoError as problem:
                done.append((index, problem.with_traceback(None)))  # which would keep the page
            if lost:
                unanswered.add(index)
        return done

    def _send(
        self, table: str, batch: Numbered, put: Callable[[list[int]], Numbered], unanswered: set[int]
    ) -> Numbered:
        """Sends (number, statement) pairs until each is settled, or is to be read: then its outcome is _LOOK.

        `unanswered` gets the numbers of those that may have landed without an answer.
        """
        wire, done, singles = self._wire, [], []
        attempt = 0
        while batch:
            lost: list[str] = []
            try:
                body = {"Statements": [statement for _, statement in batch]}
                reply = wire.call(OPERATION, body, table=table, unanswered=lost)
            except NotSent as held_back:
                if attempt:
                    raise Interrupted(str(held_back)) from None
                raise
            except DynamoError as refused:  # all of them, for what may be the fault of one
                if refused.code in faults.LACKS:
                    self._single[table] = _NO_BATCHES
                singles += batch
                break
            finally:
                if lost:
                    unanswered.update(index for index, _ in batch)
            attempt += 1
            responses = reply.get("Responses")
            if not isinstance(responses, list) or len(responses) != len(batch):
                wire._note(OPERATION, table, attempt, Again("the reply does not answer every statement"))
                unanswered.update(index for index, _ in batch)
                return done + [(index, _LOOK) for index, _ in batch]
            if responses == [{"TableName": table}] * len(batch):  # every one inserted, as nearly always
                done += [(index, None) for index, _ in batch]
                wire._note(OPERATION, table, attempt)
                break
            refused, problem = [], None
            invalid = len(singles)
            for pair, response in zip(batch, responses, strict=True):
                outcome, answered = _outcome(wire.label, table, response)
                if not answered:
                    unanswered.add(pair[0])
                if isinstance(outcome, Again):
                    refused.append(pair)
                    problem = outcome
                elif isinstance(outcome, DynamoError) and outcome.code not in _FINAL:
                    singles.append(pair)
                else:
                    done.append((pair[0], outcome))
            if len(singles) - invalid == len(batch) > 1:  # it is not the items
                self._single[table] = "every statement of a batch was refused"
            share = len(refused) / len(batch)
            wire._note(OPERATION, table, attempt, problem, share)
            if refused:
                wire._back_off(attempt, share)
            if 2 * len(refused) > len(batch):  # no progress: one by one, with the patience that single requests have
                singles += refused
                break
            batch = refused
        return done + _left(partial(put, [index for index, _ in singles]), sent=True)

    def _concurrently(
        self,
        tasks: list[Callable[[], Numbered]],
        owners: list[list[int]],
        unsent: list[int],
        answered: Callable[[int], object],
    ) -> Numbered:
        """The outcomes of all tasks. Once one has raised, no other starts; when those that run have ended, it raises.

        `unsent` gets the numbers of the items of which no copy has left this process.
        """
        left = iter(range(len(tasks)))  # whoever is free takes the next; that is atomic
        failed = threading.Event()

        def work() -> Numbered:
            done: Numbered = []
            while not failed.is_set() and (number := next(left, None)) is not None:
                try:
                    done += tasks[number]()
                    answered(len(owners[number]))
                except BaseException as problem:
                    failed.set()
                    if isinstance(problem, NotSent):
                        unsent.extend(owners[number])
                    raise
            return done

        workers, futures = min(self._at_once, len(tasks)), []
        try:
            if workers < 2:
                return work()
            for _ in range(workers):
                futures.append(self._threads().submit(work))
            wait(futures)
        except BaseException:  # Ctrl-C, or no thread to be had: nothing may be under way when the caller goes on
            failed.set()
            with self._wire.limiter.ending():
                wait(futures)
            raise
        finally:
            for number in left:
                unsent += owners[number]
        problems = [problem for future in futures if (problem := future.exception())]
        if problems:  # one that says more than that it was held back, if there is one
            raise next((problem for problem in problems if not isinstance(problem, NotSent)), problems[0])
        return [pair for future in futures for pair in future.result()]

    def _adapt(self, busy: float) -> None:
        """Sends fewer requests at a time where this process kept a processor busy: there threads only hinder each other.

        More where it did not. Saved a tenth of a copy from a fast endpoint.
        """
        if busy > 0.8:
            self._at_once = max(1, self._at_once // 2)
        elif busy < 0.5:
            self._at_once = min(self._workers, 2 * self._at_once)

    def _threads(self) -> ThreadPoolExecutor:
        with self._asking:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="insert")
            return self._pool


def pack(
    table: str,
    items: list[dict],
    order: list[int],
    sizes: Sequence[int],
    values: Sequence[bytes | None] | None = None,
) -> tuple[list[Numbered], list[int]]:
    """Return batches of (number, statement) and the numbers of the items that no statement can carry."""
    batches: list[Numbered] = []
    singles: list[int] = []
    batch: Numbered = []
    size, names, text = 0, None, None
    for index in order:
        item = items[index]
        if (own := tuple(item)) != names:  # most items of a page have the same attributes
            names, text = own, statement_text(table, own)
        if text is None:
            singles.append(index)
            continue
        length = len(text) + sizes[index]
        if batch and (len(batch) == STATEMENTS or size + length > MAX_BYTES):
            batches.append(batch)
            batch, size = [], 0
        serialized = values[index] if values else None
        parameters = orjson.Fragment(serialized) if serialized else list(item.values())
        batch.append((index, {"Statement": text, "Parameters": parameters}))
        size += length
    if batch:
        batches.append(batch)
    return batches, singles


@lru_cache(TEXTS)
def statement_text(table: str, names: tuple[str, ...]) -> str | None:
    """Return the INSERT of an item with these attributes, its values as parameters; None where it cannot be one.

    PartiQL writes a name as a string: in single quotes, with those inside doubled. How a parser takes control
    characters and backslashes there is not documented.
    """
    if not all(name.isprintable() and "\\" not in name for name in names):
        return None
    pairs = ", ".join("'" + name.replace("'", "''") + "': ?" for name in names)
    text = f'INSERT INTO "{table}" VALUE {{{pairs}}}'
    return text if len(text.encode()) <= STATEMENT_BYTES else None


def key_identity(names: Any, attributes: dict) -> tuple:
    """Return what makes two keys the same to DynamoDB: numbers by value, everything else as written."""
    return tuple(
        (name, letter, Decimal(value) if letter == "N" else value)
        for name in sorted(names)
        for letter, value in attributes[name].items()
    )


def _apart(items: list[dict], key_names: tuple[str, ...]) -> tuple[list[int], list[int]]:
    """The numbers of the items that come first with their key, and of the others."""
    seen: set[tuple] = set()
    firsts, repeats = [], []
    for index, item in enumerate(items):
        try:
            key = key_identity(key_names, item)
        except (KeyError, ArithmeticError):  # DynamoDB will say what is wrong with it
            repeats.append(index)
            continue
        (repeats if key in seen else firsts).append(index)
        seen.add(key)
    return firsts, repeats


def _outcome(label: str, table: str, response: Any) -> tuple[Any, bool]:
    """None for inserted, _LOOK, Again, or the DynamoError of one statement; and whether it answers what became of it."""
    if not isinstance(response, dict):
        return _LOOK, False
    error = response.get("Error")
    if error is None:
        inserted = response.get("TableName") == table
        return None if inserted else _LOOK, inserted
    problem = faults.from_statement(label, OPERATION, table, error)
    if isinstance(problem, Again):
        return problem, not problem.may_have_landed
    return _LOOK if problem.code in _HELD else problem, True


def _left(send: Callable[[], Numbered], *, sent: bool) -> Numbered:
    """What `send` gives. What a guard holds back after a copy has left is Interrupted, not NotSent."""
    try:
        return send()
    except NotSent as held_back:
        if not sent:
            raise
        raise Interrupted(str(held_back)) from None


def _read_probe(answer: dict | Exception, key_names: tuple[str, ...]) -> tuple[str, bool]:
    """Why single requests are used after that answer to a statement without the key, "" for batches; whether it is certain."""
    match answer:
        case {"Responses": [{"Error": error}]}:
            answer = faults.from_statement("", OPERATION, None, error)
            if isinstance(answer, DynamoError) and answer.code == "ValidationException":
                return "", True
        case {"Responses": [{"TableName": _}]}:
            return _NO_BATCHES, True  # it takes what lacks the key, so its other answers mean little
    if isinstance(answer, DynamoError):
        if answer.code == "ValidationException":
            names_key = any(re.search(rf"\bkey\b.*\b{re.escape(name)}\b", answer.message) for name in key_names)
            return ("" if names_key else _NO_BATCHES), True
        if answer.code in faults.LACKS:
            return _NO_BATCHES, True
        if answer.denied:
            return "dynamodb:PartiQLInsert is not allowed", False
        return f"whether it takes batches was answered by {answer.code}", False
    reason = answer.reason if isinstance(answer, Again) else "no usable reply"
    if reason == "HTTP status 500":  # without DynamoDB's code: an engine's own failure
        return _NO_BATCHES, True
    return f"whether it takes batches was not answered: {reason}", False
