"""Chapter 8: texts in languages never met, the best guesser, and networks that are trained to guess the next letter."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from dynattn import _checks as check
from dynattn.tasks import languages
from dynattn.training import fit, minibatches

N, LETTERS = 48, 3  # letters of a text, letters of the alphabet
STEPS, BATCH = 400, 48
# Layers of one head: how many heads, and whether the matrix is computed.
ATTENTION, STATIC = (1, True), (1, False)
# Learning rates, compared on validation texts (stream 502). Pair: 0.05, 0.1 and 0.2 lie within a hundredth of the way of one
# another (seeds 0 to 2); with a hidden layer of 64, 0.05 was the best of 0.05 and 0.1, and 0.02 was worse on seed 0. GRU of 48
# units: 0.1 was the best of 0.03, 0.1 and 0.3; and 0.01 was far worse on seed 0. GRU of 5 units, after 1,600 steps: 0.1 was the
# best of 0.1 and 0.3 on average over seeds 0 to 2; 0.01 and 0.03 were no better on seed 0.
RATES = {"pair": 0.05, "gru": 0.1, "gru of 5": 0.1}
RECURRENT = {"gru": nn.GRU, "plain": nn.RNN}


def texts(samples: int, seed: int, stream: int = 500):
    """Texts of 48 letters, each in a language of its own.

    Args:
        samples: how many texts.
        seed, stream: what they are drawn from; every stream has its own random numbers. Networks learn from stream 500,
            settings are chosen on 502, and results are reported on 501.

    Returns:
        (texts, tables), as :func:`~dynattn.tasks.languages`.

    Raises:
        TypeError, ValueError: samples is not an int of at least 1, or seed or stream not an int of at least 0 (stream at
            most 999).
    """
    check.require_sizes(samples=samples)
    _require_seed(seed)
    check.require_int("stream", stream, at_least=0, at_most=999)
    return languages(samples, N, LETTERS, torch.Generator().manual_seed(int(seed) + 1000 * int(stream)))


def bayes(texts: torch.Tensor) -> torch.Tensor:
    """The best guess of the next letter that doesn't know the language: add one to how often each letter has followed.

    Args:
        texts: letters (samples, n), integers from 0 to 2.

    Returns:
        (samples, n, 3): after each letter, the probabilities of the next one.

    Raises:
        TypeError, ValueError: texts are no such letters.
    """
    one_hot = F.one_hot(_require_texts(texts), LETTERS)
    pairs = torch.zeros(*texts.shape, LETTERS, LETTERS, dtype=torch.long)
    pairs[:, 1:] = one_hot[:, :-1, :, None] * one_hot[:, 1:, None, :]
    followed = pairs.cumsum(1)  # how often the second letter has followed the first, up to each position
    return _add_one((one_hot[..., None] * followed).sum(-2))


def counting(texts: torch.Tensor) -> torch.Tensor:
    """The guess that counts letters, whatever they came after; argument, result and errors as in :func:`bayes`."""
    return _add_one(F.one_hot(_require_texts(texts), LETTERS).cumsum(1))


def _add_one(counts):
    return (counts + 1) / (counts.sum(-1, keepdim=True) + LETTERS)


def circuit(texts: torch.Tensor):
    """The two matrices by hand: from the letter before, and from the tokens whose letter before is mine.

    Args:
        texts: letters (samples, n), integers from 0 to 2.

    Returns:
        (W_1, A_2): W_1 (n, n), the same for all texts; A_2 (samples, n, n), whose rows add up to one. Where no token
        matches, the first gets the whole weight.

    Raises:
        TypeError, ValueError: texts are no such letters.
    """
    own = F.one_hot(_require_texts(texts), LETTERS).float()
    W_1 = torch.eye(texts.shape[1]).roll(1, 0)
    W_1[0] = 0  # the first token has nothing before it
    match = (own @ (W_1 @ own).mT).tril()  # 1 where the letter before token j is the letter of token i
    match[..., 0] += match.sum(-1) == 0
    return W_1, match / match.sum(-1, keepdim=True)


def divergence(guess: torch.Tensor, best: torch.Tensor) -> float:
    """The mean Kullback-Leibler divergence of guesses from the best ones, over the second half of each text.

    Args:
        guess: probabilities (samples, n, 3), all above 0.
        best: what :func:`bayes` says of the same texts, or a different guesser; of the same shape and dtype.

    Raises:
        TypeError, ValueError: one of the two is not probabilities above 0 of that shape.
    """
    for name, tensor in (("guess", guess), ("best", best)):
        check.require_tokens(name, tensor, width=LETTERS, like=guess)
        if tensor.dim() != 3 or not tensor.numel():
            raise ValueError(f"{name}: got shape {check.shape_of(tensor)}, expected (samples, n, {LETTERS})")
        if not (tensor.min() > 0 and (tensor.sum(-1) - 1).abs().max() < 0.01):
            raise ValueError(
                f"{name}: got numbers that are not above 0 or don't add up to 1, expected probabilities"
            )
    if guess.shape != best.shape:
        raise ValueError(
            f"guess: got shape {check.shape_of(guess)}, expected {check.shape_of(best)}, as best"
        )
    return (best * (best / guess).log()).sum(-1)[:, best.shape[1] // 2 :].mean().item()


class Mixing(nn.Module):
    """A causal layer that hands on its input, and with it what each head reads.

    The logit of two tokens is one learned number for their distance. Where the matrix is computed, x_i B x_j is added to
    it, with a learned table B over features.

    Args:
        width: features of a token.
        heads: how many.
        computed: False leaves B out, so that the matrix is learned and the same for every text.

    Raises:
        TypeError, ValueError: a size that is not an int of at least 1, or computed is no bool.
    """

    def __init__(self, width: int, heads: int = 1, computed: bool = True):
        super().__init__()
        check.require_sizes(width=width, heads=heads)
        check.require_bool("computed", computed)
        self.width = width
        self.B = nn.Parameter(0.1 * torch.randn(heads, width, width)) if computed else None
        self.W_distance = nn.Parameter(torch.zeros(heads, N))

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """x (samples, n, width), n at most 48 -> (samples, or 1 where nothing is computed, heads, n, n)."""
        check.require_tokens("x", x, width=self.width, like=self.W_distance)
        if x.dim() != 3 or not 1 <= x.shape[1] <= N:
            raise ValueError(
                f"x: got shape {check.shape_of(x)}, expected (samples, n, {self.width}), n from 1 to {N}"
            )
        place = torch.arange(x.shape[1])
        logits = self.W_distance[None, :, (place[:, None] - place).clamp(min=0)]
        if self.B is not None:
            logits = logits + x[:, None] @ self.B @ x[:, None].mT
        A = logits.masked_fill(place > place[:, None], -torch.inf).softmax(-1)
        check.require_finite_result(A, x=x)
        return A

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(samples, n, width) -> (samples, n, width + heads * width): the input, and with it what each head reads."""
        y = torch.cat([x, (self.weights(x) @ x[:, None]).transpose(1, 2).flatten(2)], dim=-1)
        check.require_finite_result(y, x=x)
        return y


class Predictor(nn.Module):
    """Layers of :class:`Mixing`, and a read-out of three logits for the next letter.

    Args:
        layers: for each layer how many heads it has and whether its matrix is computed, such as ``(ATTENTION, STATIC)``.
        seed: of the parameters; torch's global generator is left as it was.
        hidden: the units of a hidden layer in the read-out; 0 for a linear one.

    Raises:
        TypeError, ValueError: layers is not a tuple of such pairs, seed not an int of at least 0, or hidden not one.
    """

    def __init__(self, layers: tuple, seed: int, hidden: int = 0):
        super().__init__()
        check.require_kind("layers", layers, tuple, "a tuple of pairs (heads, computed)")
        _require_seed(seed)
        check.require_int("hidden", hidden, at_least=0)
        if not 1 <= len(layers) <= 8:
            raise ValueError(f"layers: got {len(layers)}, expected 1 to 8")
        for pair in layers:
            check.require_kind("layers", pair, tuple, "pairs (heads, computed)")
            if len(pair) != 2:
                raise ValueError(f"layers: got {len(pair)} entries of one, expected (heads, computed)")
            check.require_int("layers", pair[0], at_least=1, at_most=16)
            check.require_bool("layers", pair[1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(seed))
            self.layers, width = nn.Sequential(), LETTERS
            for heads, computed in layers:
                self.layers.append(Mixing(width, heads, computed))
                width *= 1 + heads
            self.read = _read_out(width, hidden)

    def features(self, texts: torch.Tensor) -> torch.Tensor:
        """Letters (samples, n), n at most 48 -> what the layers hand to the read-out, (samples, n, width)."""
        return self.layers(F.one_hot(_require_texts(texts, at_most=N), LETTERS).float())

    def forward(self, texts: torch.Tensor) -> torch.Tensor:
        """Letters (samples, n), n at most 48 -> logits of the next letter (samples, n, 3)."""
        logits = self.read(self.features(texts))
        check.require_finite_result(logits, texts=texts)
        return logits


class Recurrent(nn.Module):
    """A recurrent network, whose matrices are all static, and a linear read-out.

    Args:
        kind: "gru", with gates, or "plain", without.
        units: the numbers of its state.
        seed: of the parameters; torch's global generator is left as it was.

    Raises:
        TypeError, ValueError: a different kind, units not an int of at least 1, or seed not one of at least 0.
    """

    def __init__(self, kind: str, units: int, seed: int):
        super().__init__()
        check.require_choice("kind", kind, RECURRENT)
        check.require_sizes(units=units)
        _require_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(seed))
            self.state = RECURRENT[kind](LETTERS, int(units), batch_first=True)
            self.read = nn.Linear(units, LETTERS)

    def forward(self, texts: torch.Tensor) -> torch.Tensor:
        """Letters (samples, n) -> logits of the next letter (samples, n, 3)."""
        logits = self.read(self.state(F.one_hot(_require_texts(texts), LETTERS).float())[0])
        check.require_finite_result(logits, texts=texts)
        return logits


def read_out(width: int, hidden: int, seed: int) -> nn.Sequential:
    """A read-out alone: from ``width`` features to three logits, with a hidden layer, or linear if hidden is 0.

    Raises:
        TypeError, ValueError: width is not an int of at least 1, or hidden or seed not one of at least 0.
    """
    check.require_sizes(width=width)
    check.require_int("hidden", hidden, at_least=0)
    _require_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        return _read_out(width, hidden)


def _read_out(width, hidden):
    ends = [nn.Linear(width, hidden), nn.ReLU()] if hidden else []
    return nn.Sequential(*ends, nn.Linear(hidden or width, LETTERS))


def surprise(logits: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """The loss: the mean surprise, in nats, at every letter of the texts but the first.

    Args:
        logits: (samples, n, 3), what is said after each letter.
        texts: letters (samples, n), n at least 2.

    Raises:
        TypeError, ValueError: one of the two is not of that kind and shape.
    """
    check.require_tokens("logits", logits, width=LETTERS)
    _require_texts(texts)
    if check.shape_of(logits) != (*check.shape_of(texts), LETTERS) or texts.shape[1] < 2:
        raise ValueError(
            f"texts: got shape {check.shape_of(texts)}, expected (samples, n), as logits {check.shape_of(logits)}, n at "
            "least 2"
        )
    loss = _surprise(logits, texts.long())
    check.require_finite_result(loss, logits=logits)
    return loss


def _surprise(logits, texts):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), texts[:, 1:].flatten())


def train(
    network: nn.Module,
    texts: torch.Tensor,
    seed: int,
    rate: float = RATES["pair"],
    decay: float = 0.0,
    steps: int = STEPS,
    watch: Callable[[int], None] | None = None,
    label: str = "guessing letters",
) -> nn.Module:
    """Train a network to guess every next letter, in batches of 48 texts.

    Args:
        network: a :class:`Predictor` or a :class:`Recurrent`; trained in place.
        texts: letters (samples, n) to learn from.
        seed: of the batches.
        rate, decay: the highest learning rate, and the weight decay; both at most 10.
        steps, watch, label: as in :func:`~dynattn.training.fit`.

    Returns:
        The network.

    Raises:
        TypeError, ValueError: an argument of a different kind or out of its range, or the training went wrong.
    """
    _require_texts(texts)
    _require_seed(seed)
    _require_network(network)
    check.require_number("rate", rate, above=0, at_most=10)
    check.require_number("decay", decay, at_least=0, at_most=10)
    fit(network, minibatches(texts.long(), texts.long(), BATCH), _surprise, steps=steps, lr=rate, seed=seed, weight_decay=decay, watch=watch,
        label=label)  # fmt: skip
    return network


def measured(network: nn.Module, texts: torch.Tensor) -> float:
    """The divergence of a network's guesses from those of the Bayes predictor on these texts.

    Args:
        network: a :class:`Predictor` or a :class:`Recurrent`.
        texts: letters (samples, n).

    Raises:
        TypeError, ValueError: network is neither, or has learned what is not finite; or texts are no letters.
    """
    _require_network(network)
    best = bayes(texts)
    with torch.no_grad():
        return divergence(network(texts).softmax(-1), best)


def parameters(network: nn.Module) -> int:
    """How many parameters a network has.

    Raises:
        TypeError: it is no module.
    """
    check.require_kind("network", network, nn.Module, "a torch.nn.Module")
    return sum(parameter.numel() for parameter in network.parameters())


def _require_network(network):
    check.require_kind("network", network, (Predictor, Recurrent), "a Predictor or a Recurrent")


def _require_seed(seed):
    check.require_int("seed", seed, at_least=0, at_most=2**62)


def _require_texts(texts, at_most=None):
    check.require_indices("texts", texts, LETTERS)
    if texts.dim() != 2 or not texts.numel() or (at_most and texts.shape[1] > at_most):
        up_to = f", n at most {at_most}" if at_most else ""
        raise ValueError(f"texts: got shape {check.shape_of(texts)}, expected letters (samples, n){up_to}")
    return texts.long()
