"""An SCU of pynetdicom's must not lose the answer that it waits for."""

from typing import Any

from pynetdicom.association import Association


def keep_answers(association: Association) -> None:
    """pynetdicom's own loop must not take an answer off the queue that `send_c_store` waits for.

    Before a message is sent the loop is told to pause; where this process gets no time between the loop's last look
    at that and its next step, the loop takes the answer for a request, and drops it (seen with 3.0.4, twice in a run of
    our tests on a busy machine). What it takes is put back: a Storage SCU is sent no requests.
    """

    def put_back(message: Any, context_id: int) -> None:
        association.dimse.msg_queue.put((context_id, message))

    association._serve_request = put_back  # type: ignore[method-assign,assignment]
