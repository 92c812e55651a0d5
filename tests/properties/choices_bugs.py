"""Which bugs must the properties of declared choices find?"""

from __future__ import annotations

from tests.properties.seeded import SeededBug

CHOICES = "core/command_checks.py"
SEEDED = [
    SeededBug(
        "a skill named twice passes when it comes last again",
        CHOICES,
        "        named.add(change.skill_id)\n",
        "        named = {change.skill_id}\n",
        "test_skills_pass_exactly_when_they_are_as_declared",
    ),
    SeededBug(
        "the preference is held against the bounds of the level",
        CHOICES,
        "_is_outside(change.preference, skill.preference_min, skill.preference_max)",
        "_is_outside(change.preference, skill.level_min, skill.level_max)",
        "test_skills_pass_exactly_when_they_are_as_declared",
    ),
    SeededBug(
        "the highest value is out of range",
        CHOICES,
        "(high is not None and value > high)",
        "(high is not None and value >= high)",
        "test_skills_pass_exactly_when_they_are_as_declared",
        quick=True,
    ),
    SeededBug(
        "the present state passes with any reason",
        CHOICES,
        "        and command.reason_id in {None, present.reason_id}\n",
        "",
        "test_a_state_passes_exactly_when_its_reason_is_one_of_its_own",
    ),
    SeededBug(
        "a reason belongs to no state but that of its kind",
        CHOICES,
        " and command.state not in reason.required_for:",
        ":",
        "test_a_state_passes_exactly_when_its_reason_is_one_of_its_own",
    ),
    SeededBug(
        "only the first wrap-up reason is looked at",
        CHOICES,
        "for reason_id in reason_ids:",
        "for reason_id in reason_ids[:1]:",
        "test_wrap_up_reasons_pass_exactly_when_they_are_declared_as_such",
    ),
    SeededBug(
        "true is a number",
        CHOICES,
        "elif type(value) not in _TYPES.get(parameter.data_type, (type(value),)):",
        "elif not isinstance(value, _TYPES.get(parameter.data_type, (type(value),))):",
        "test_parameters_pass_exactly_when_their_values_are_as_declared",
    ),
    SeededBug(
        "a reference to what is out of sight passes",
        CHOICES,
        "if parsed is None or parsed[1] not in scope.of(kind):\n        raise _refusal",
        "if parsed is None:\n        raise _refusal",
        "test_parameters_pass_exactly_when_their_values_are_as_declared",
    ),
    SeededBug(
        "a reference may be anything in sight, listed or not",
        CHOICES,
        "        _check_reference(parameter.name, value, referred, scope)\n",
        "        _check_reference(parameter.name, value, referred, scope)\n        return\n",
        "test_parameters_pass_exactly_when_their_values_are_as_declared",
    ),
    SeededBug(
        "what cannot be changed can be set to null",
        CHOICES,
        "if parameter.read_only:",
        "if parameter.read_only and value is not None:",
        "test_parameters_pass_exactly_when_their_values_are_as_declared",
    ),
    SeededBug(
        "a present reference passes under any name",
        CHOICES,
        "legal = (present.get(name), parameter.default)",
        "legal = (*present.values(), parameter.default)",
        "test_parameters_pass_exactly_when_their_values_are_as_declared",
    ),
    SeededBug(
        "the default may not come back",
        CHOICES,
        "legal = (present.get(name), parameter.default)",
        "legal = (present.get(name),)",
        "test_parameters_pass_exactly_when_their_values_are_as_declared",
    ),
    SeededBug(
        "true passes where 1 is",
        CHOICES,
        "return type(one) is type(other) and one == other",
        "return one == other",
        "test_parameters_pass_exactly_when_their_values_are_as_declared",
    ),
    SeededBug(
        "only the first member of a list is looked at",
        CHOICES,
        "for member in value if isinstance(value, tuple) else (value,):",
        "for member in value[:1] if isinstance(value, tuple) else (value,):",
        "test_parameters_pass_exactly_when_their_values_are_as_declared",
    ),
    SeededBug(
        "a list may stand where one value does",
        CHOICES,
        "if holds_one and isinstance(value, tuple) and",
        "if holds_one and False and",
        "test_parameters_pass_exactly_when_their_values_are_as_declared",
    ),
]
