"""The kernel under the notebooks, spoken to as JupyterLab speaks to it: what is asked is answered, whenever it comes."""

import sys
from contextlib import contextmanager

import pytest
from jupyter_client.manager import KernelManager

pytestmark = pytest.mark.slow
PATIENCE = 60
SLOW_REPLIES = """
import time
from ipykernel import kernelapp
from ipykernel.subshell_manager import SubshellManager

send = SubshellManager._send_on_shell_channel

def send_late(*words):
    time.sleep(0.5)  # what is asked meanwhile has arrived before this reply goes out
    send(*words)

SubshellManager._send_on_shell_channel = send_late
kernelapp.launch_new_instance()
"""
WAITING = """
import threading
from runbook_lib.notebook import display

clicked = threading.Event()
display.control.request_stop = lambda run: clicked.set()
buttons = display._Buttons(None)
print("shown", flush=True)
print("clicked" if clicked.wait(10) else "held back")
"""


@contextmanager
def kernel(start: str = "from ipykernel import kernelapp; kernelapp.launch_new_instance()"):
    """A client of a kernel that Python starts with this code."""
    manager = KernelManager()
    manager.kernel_spec.argv = [sys.executable, "-c", start, "-f", "{connection_file}"]
    manager.start_kernel()
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def published(client, parent: str, kind: str, **content: object) -> dict:
    """The next message of a kind with this content that a request leads to."""
    while True:
        message = client.get_iopub_msg(timeout=PATIENCE)
        found = message["msg_type"] == kind and message["parent_header"].get("msg_id") == parent
        if found and content.items() <= message["content"].items():
            return message["content"]


def reply(get, parent: str) -> dict:
    """The reply to a request."""
    while (message := get(timeout=PATIENCE))["parent_header"]["msg_id"] != parent:
        pass
    return message["content"]


def test_a_request_that_comes_while_a_reply_goes_out_is_answered():
    """ipykernel before 7.4 never reads it: every cell of Run All stays at [*], and the kernel is idle."""
    with kernel(SLOW_REPLIES) as client:
        published(client, client.kernel_info(), "status", execution_state="idle")  # its reply is on its way
        assert reply(client.get_shell_msg, client.execute("1"))["status"] == "ok"


@pytest.mark.parametrize("has_subshell", [True, False])
def test_a_click_is_handled_while_the_cell_works(has_subshell):
    """Pause and Stop… reach the run that they are for, also before JupyterLab has the subshell that it sends clicks to."""
    with kernel() as client:
        cell = client.execute(WAITING)
        while (opened := published(client, cell, "comm_open"))["data"]["state"].get("description") != "Pause":
            pass
        assert published(client, cell, "stream", name="stdout")["text"].strip() == "shown"
        content = {"comm_id": opened["comm_id"], "data": {"method": "custom", "content": {"event": "click"}}}
        click = client.session.msg("comm_msg", content)
        if has_subshell:
            asked = client.session.msg("create_subshell_request")
            client.control_channel.send(asked)
            made = reply(client.get_control_msg, asked["header"]["msg_id"])
            click["header"]["subshell_id"] = made["subshell_id"]
        client.shell_channel.send(click)
        assert published(client, cell, "stream", name="stdout")["text"].strip() == "clicked"
