"""The names of the scores of the v0 protocol, which a wide table has a column for."""

from __future__ import annotations

from typing import Final

__all__ = ["DESCRIPTIONS", "EMOTIONS", "FACS", "SENTIMENT", "TOXICITY"]

EMOTIONS: Final = (
    "Admiration", "Adoration", "Aesthetic Appreciation", "Amusement", "Anger", "Annoyance", "Anxiety",
    "Awe", "Awkwardness", "Boredom", "Calmness", "Concentration", "Confusion", "Contemplation", "Contempt",
    "Contentment", "Craving", "Determination", "Disappointment", "Disapproval", "Disgust", "Distress",
    "Doubt", "Ecstasy", "Embarrassment", "Empathic Pain", "Enthusiasm", "Entrancement", "Envy",
    "Excitement", "Fear", "Gratitude", "Guilt", "Horror", "Interest", "Joy", "Love", "Nostalgia", "Pain",
    "Pride", "Realization", "Relief", "Romance", "Sadness", "Sarcasm", "Satisfaction", "Desire", "Shame",
    "Surprise (negative)", "Surprise (positive)", "Sympathy", "Tiredness", "Triumph",
)  # fmt: skip
"""The 53 emotions of the language model, among them the 48 of the other models."""

FACS: Final = (
    "AU1 Inner Brow Raise", "AU2 Outer Brow Raise", "AU4 Brow Lowerer", "AU5 Upper Lid Raise",
    "AU6 Cheek Raise", "AU7 Lids Tight", "AU9 Nose Wrinkle", "AU10 Upper Lip Raiser",
    "AU11 Nasolabial Furrow Deepener", "AU12 Lip Corner Puller", "AU14 Dimpler",
    "AU15 Lip Corner Depressor", "AU16 Lower Lip Depress", "AU17 Chin Raiser", "AU18 Lip Pucker",
    "AU19 Tongue Show", "AU20 Lip Stretch", "AU22 Lip Funneler", "AU23 Lip Tightener", "AU24 Lip Presser",
    "AU25 Lips Part", "AU26 Jaw Drop", "AU27 Mouth Stretch", "AU28 Lips Suck", "AU32 Bite", "AU34 Puff",
    "AU37 Lip Wipe", "AU38 Nostril Dilate", "AU43 Eye Closure", "AU53 Head Up", "AU54 Head Down",
    "Hand over Mouth", "Hand over Eyes", "Hand over Forehead", "Hand over Face",
    "Hand touching Face / Head",
)  # fmt: skip
"""The 36 facial actions of ``facs``."""

DESCRIPTIONS: Final = (
    "Beaming", "Biting lip", "Cheering", "Cringe", "Cry", "Eyes closed", "Face in hands", "Frown", "Gasp",
    "Glare", "Glaring", "Grimace", "Grin", "Jaw drop", "Laugh", "Licking lip", "Pout", "Scowl", "Smile",
    "Smirk", "Snarl", "Squint", "Sulking", "Tongue out", "Wide-eyed", "Wince", "Wrinkled nose",
)  # fmt: skip
"""The 27 ``descriptions`` of a face."""

SENTIMENT: Final = tuple(str(level) for level in range(1, 10))
"""The nine levels of ``sentiment``, "1" the most negative."""

TOXICITY: Final = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
"""The six kinds of ``toxicity``."""
