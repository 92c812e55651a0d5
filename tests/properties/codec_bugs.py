"""Which bugs must the codec's properties find?"""

from __future__ import annotations

from tests.properties.seeded import SeededBug

WIRE, LIMITS, CODEC = "protocol/wire_form.py", "protocol/limits.py", "protocol/codec.py"
JSON, MSGPACK = "protocol/json_form.py", "protocol/msgpack_form.py"

SEEDED = [
    SeededBug(
        "a field that was cleared is not in the patch",
        WIRE,
        "if new is not old and new != old",
        "if new is not None and new != old",
        "test_a_patch_leads_from_one_value_to_the_other",
        quick=True,
    ),
    SeededBug(
        "members of lists stay as they are",
        WIRE,
        "[plain(member) for member in",
        "[member for member in",
        "test_a_fragment_is_the_value_without_its_nulls",
    ),
    SeededBug(
        "sixteen members have the head of a small map",
        MSGPACK,
        "if count < 16:",
        "if count <= 16:",
        "test_splices_of_any_size_can_be_read",
    ),
    SeededBug(
        "65 536 members have the head of a middle-sized map",
        MSGPACK,
        "if count < 0x10000:",
        "if count <= 0x10000:",
        "test_splices_of_any_size_can_be_read",
    ),
    SeededBug(
        "patches are not counted",
        MSGPACK,
        "        _splice(parts, _PATCH, patch)\n        count += 1\n",
        "        _splice(parts, _PATCH, patch)\n",
        "test_spliced_changes_are_the_frame_that_they_stand_for",
    ),
    SeededBug(
        "a reset never says that there is more",
        JSON,
        "    if more:\n",
        "    if more and not reset:\n",
        "test_spliced_changes_are_the_frame_that_they_stand_for",
    ),
    SeededBug(
        "numbers of thousands of digits raise what nobody expects",
        JSON,
        "except ValueError:  # also",
        "except json.JSONDecodeError:  # also",
        "test_arbitrary_bytes_are_refused_as_bad_frames",
    ),
    SeededBug(
        "a refusal repeats the names of what came",
        CODEC,
        "GATEWAY_FRAME, path_shown=2)",
        "GATEWAY_FRAME, path_shown=None)",
        "test_refusals_never_repeat_what_came",
    ),
    SeededBug(
        "values that JSON has not pass",
        LIMITS,
        '            raise BadFrame("a value of a type that frames do not have")',
        "            return",
        "test_msgpack_that_json_could_not_say_is_refused",
    ),
    SeededBug(
        "a phone's lists are lost",
        WIRE,
        "if kind is tuple or kind is list:",
        "if kind is tuple and not value or kind is list:",
        "test_what_a_phone_writes_is_what_the_gateway_reads",
    ),
    SeededBug(
        "the gateway leaves out what is empty",
        WIRE,
        "        if member is not default\n",
        "        if member is not default and member != 0\n",
        "test_what_the_gateway_writes_is_what_a_phone_reads",
    ),
    SeededBug(
        "one encoding writes what the other does not",
        MSGPACK,
        "write: Final = msgspec.msgpack.Encoder().encode",
        "write: Final = lambda value: msgspec.msgpack.encode({**value, '': 1} if type(value) is dict else 1)",
        "test_both_encodings_carry_the_same",
    ),
    SeededBug(
        "one encoding reads in small letters",
        JSON,
        "_READER.decode(text)",
        "_READER.decode(text.lower())",
        "test_both_encodings_refuse_the_same_for_the_same_reason",
    ),
    SeededBug(
        "equal values need a patch",
        WIRE,
        "if new is not old and new != old",
        "if new != old or old is not None",
        "test_equal_values_need_no_patch_and_have_one_fragment",
    ),
    SeededBug(
        "damaged text is no text",
        JSON,
        "except UnicodeDecodeError:",
        "except UnicodeEncodeError:",
        "test_damaged_frames_raise_nothing_else",
    ),
]
