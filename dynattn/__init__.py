"""dynattn: what the chapters of "Attention, the layer that writes its own weights" share.

One module per idea, in the order in which the chapters need them: :mod:`dynattn.static` (weights that are
learned), :mod:`dynattn.attention` (weights that are computed), :mod:`dynattn.anatomy` (instruments for looking
into a layer), :mod:`dynattn.mixers` (what could stand in attention's place), :mod:`dynattn.transformer` (layers made
into models), :mod:`dynattn.corpora` and :mod:`dynattn.pretrained` (real text, a real model), and the leaves that every
chapter uses: tasks, training, seeding, claims, exercises, figures, live. :mod:`dynattn.facts` and :mod:`dynattn.words` hold
the small trained layers behind live figures, :mod:`dynattn.experiments` what two notebooks measure.
"""

from dynattn.claims import claim
from dynattn.exercises import check
from dynattn.seeding import seed

__all__ = ["check", "claim", "seed"]
__version__ = "0.1.0"
