"""Names of people, queues, groups and reasons.

Lists, so that a demo looks like a contact centre.
"""

from __future__ import annotations

from typing import Final

from gateway.simulator.model import ReasonKind

FIRST_NAMES: Final = (
    "Anna", "Ben", "Carla", "David", "Elena", "Felix", "Greta", "Hannes", "Ines", "Jonas", "Katrin", "Lukas",
    "Marie", "Nils", "Olivia", "Paul", "Rosa", "Stefan", "Tara", "Ulrich", "Vera", "Wanda", "Yusuf", "Zoe",
    "Amir", "Bianca", "Chidi", "Dorota", "Emre", "Fatima", "Giulia", "Hugo", "Irina", "Joris", "Klara",
    "Leon", "Mira", "Noah", "Otto", "Priya",
)  # fmt: skip

LAST_NAMES: Final = (
    "Albrecht", "Bauer", "Conrad", "Demir", "Engel", "Fischer", "Graf", "Hoffmann", "Ivanova", "Jansen",
    "Keller", "Lindner", "Meyer", "Nowak", "Okafor", "Petersen", "Quandt", "Richter", "Schuster", "Thoma",
    "Ullmann", "Vogel", "Weber", "Yilmaz", "Zimmermann", "Brandt", "Costa", "Dietrich", "Ferrari", "Gruber",
    "Haas", "Kowalski", "Lang", "Moreau", "Novak", "Patel", "Rossi", "Sommer", "Tanaka", "Wolf",
)  # fmt: skip

TOPICS: Final = (
    "Billing", "Support", "Sales", "Orders", "Returns", "Contracts", "Complaints", "Appointments", "Delivery",
    "Warranty", "Insurance", "Claims", "Premium", "Hotline", "Spare parts", "Service desk",
)  # fmt: skip

REGIONS: Final = ("", "DE", "AT", "CH", "EN", "FR", "IT", "NL", "PL", "ES", "TR")

TEAMS: Final = (
    "Berlin", "Munich", "Hamburg", "Vienna", "Zurich", "Cologne", "Leipzig", "Dresden", "Graz", "Basel",
    "Bremen", "Essen", "Linz", "Stuttgart", "Rostock", "Kiel",
)  # fmt: skip

REASONS: Final[tuple[tuple[ReasonKind, str, tuple[str, ...]], ...]] = (
    ("UnavailableReason", "Lunch", ()),
    ("UnavailableReason", "Break", ()),
    ("UnavailableReason", "Meeting", ()),
    ("UnavailableReason", "Training", ()),
    ("WorkReason", "Back office", ("Work",)),
    ("WorkReason", "Email", ()),
    ("WorkReason", "Outbound calls", ()),
    ("PostProcessingReason", "Documentation", ()),
    ("PostProcessingReason", "Follow-up", ()),
    ("WrapupReason", "Solved", ()),
    ("WrapupReason", "Call back", ()),
    ("WrapupReason", "Forwarded", ()),
)
"""Kind, name, the states that need a reason because of it."""


def queue_name(index: int) -> str:
    """Name the queue: "Billing", …, "Billing DE", …; a number once the combinations are used up."""
    topic, region = TOPICS[index % len(TOPICS)], (index // len(TOPICS)) % len(REGIONS)
    round_ = index // (len(TOPICS) * len(REGIONS))
    return " ".join(filter(None, (topic, REGIONS[region], str(round_ + 1) if round_ else "")))


def team_name(index: int) -> str:
    """Name the group: "Team Berlin", …, "Team Berlin 2", …."""
    name = f"Team {TEAMS[index % len(TEAMS)]}"
    return name if index < len(TEAMS) else f"{name} {index // len(TEAMS) + 1}"
