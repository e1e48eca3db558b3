"""Distillation: a student learns to say what a teacher says, with what the teacher is unsure of (Sanh et al. 2019).

    text -> nanodistil binarize -> nanodistil extract-student -> nanodistil distill -> a student's folder

This is upstream's train.py and distiller.py on our own arithmetic, with their flags (dashes for underscores), defaults
and checks, but for what follows. Each of these has cost somebody a run:

mlm            Upstream asks for `--mlm` and a 0 for the alpha of the other objective, which has 0.5. Here the student
               says which it is: a GPT-2 learns the next word, with alpha_clm, any other masked words, with alpha_mlm;
               each has 0.5. Upstream's flags may be given, and are refused if they say another. The alpha may be 0:
               the student then learns from the teacher alone. Of a GPT-2 all tokens count, as upstream, whatever
               restrict_ce_to_mask says.
no teacher     None is needed if alpha_ce, alpha_mse and alpha_cos are 0: that is pre-training, which a distillation has
               to beat.
restrict_ce_to_mask  It restricts the mean squared error too, as upstream. L_cos always counts all tokens.
freeze_pos_embs      Did nothing for a DistilBERT upstream. Here positions are frozen; token types cannot be.
group_by_size  Passing upstream's flag turned grouping off. Here that is `--no-group-by-size` (sampler.py).
n_iter, fp16, n_gpu  See loop.py; `--dtype bfloat16`, on a GPU float16 (loss_scale.py); `mpirun -n 2` (communicator.py).
initializer_range    Was read by nothing: the student's config has one of its own. token_counts may be left out.
checks         Teacher and student may differ in width where alpha_cos is 0: logits can be compared whatever they were
               made from. That both have one vocabulary is checked by the words, not by their number.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Unpack
from zlib import crc32

import numpy as np

from nanodistil import backend as backends
from nanodistil.auto import AutoTokenizer
from nanodistil.backend import Ints
from nanodistil.config import Config
from nanodistil.family import class_of, family_of
from nanodistil.heads import speaking
from nanodistil.heads.causal_lm import ForCausalLM, next_words
from nanodistil.heads.masked_lm import ForMaskedLM
from nanodistil.loader import load_pretrained
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.training.binarize import fingerprint
from nanodistil.training.communicator import Single
from nanodistil.training.loop import Plan, Worked, train
from nanodistil.training.masking import Masking, MaskingShares
from nanodistil.training.optimizer import AdamW
from nanodistil.training.options import Course, RunOptions, begun
from nanodistil.training.run import EPOCH, Run, made_with
from nanodistil.training.sampler import epochs
from nanodistil.training.schedule import linear, planned_steps, warmup_steps
from nanodistil.training.sequences import Sequences, with_positions
from nanodistil.training.shards import Index
from nanodistil.training.teacher import check_words, load_whole
from nanodistil.training.token_counts import read_token_counts, token_counts
from nanodistil.training.trainee import Trainee, how_to_load
from nanodistil.training.triple_loss import Shares, TripleLoss
from nanodistil.weights.errors import InputError, ModelNotFoundError
from nanodistil.weights.files import checksum
from nanodistil.weights.hub import resolve
from nanodistil.weights.layout import POSITIONS
from nanodistil.weights.small_files import FOR_CONFIG, read_json

HARD = 0.5  # what alpha_mlm and alpha_clm are preset to; of the one that is another family's, it says nothing
BETAS = (0.9, 0.98)  # upstream's; Adam's own 0.999 remembers the early, large gradients longer
TEACHERS = {  # a teacher's family -> those of the students whose positions are counted as its are
    "distilbert": ("distilbert", "bert"), "bert": ("distilbert", "bert"), "roberta": ("roberta",),
    "gpt2": ("gpt2",),
}  # fmt: skip
Speaker = ForMaskedLM | ForCausalLM  # a model with the head of its family that says words
FREE = (  # what may be changed on resuming, since it changes no weight (with NumPy's BLAS, threads may: the last bits)
    "dump_path", "threads", "gradient_checkpointing", "student_type", "teacher_type",
    "log_interval", "checkpoint_interval", "checkpoint_minutes", "save_epochs",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions, Shares, MaskingShares):
    """The settings of a distillation, named and preset as upstream's flags.

    dump_path: the run's folder. data_file: a folder that `binarize` made. student_pretrained_weights: a folder or hub
    id to begin from; or student_config, a config.json, for fresh weights. teacher_name: a model with its language
    modelling head. teacher_type, student_type, mlm: only checked. max_length: of a sequence, None for as many tokens as
    the student takes.
    """

    dump_path: str
    data_file: str
    student_type: str | None = None
    student_config: str | None = None
    student_pretrained_weights: str | None = None
    teacher_type: str | None = None
    teacher_name: str | None = None
    tokenizer_name: str | None = None
    mlm: bool = False
    alpha_clm: float = 0.5
    token_counts: str | None = None
    freeze_pos_embs: bool = False
    n_epoch: int = 3
    batch_size: int = 5
    max_length: int | None = None
    group_by_size: bool = True
    gradient_accumulation_steps: int = 50
    warmup_prop: float = 0.05
    learning_rate: float = 5e-4
    adam_epsilon: float = 1e-6
    max_grad_norm: float = 5.0
    seed: int = 56
    log_interval: int = 500
    checkpoint_interval: int = 4000
    checkpoint_minutes: float = 15.0
    save_epochs: bool = False

    LOWEST = {  # noqa: RUF012
        "alpha_ce": 0, "alpha_mlm": 0, "alpha_clm": 0, "alpha_mse": 0, "alpha_cos": 0, "n_epoch": 1,
        "warmup_prop": 0, "log_interval": 1, "checkpoint_interval": 1, "checkpoint_minutes": 0,
    }  # fmt: skip
    POSITIVE = ("temperature",)

    def __post_init__(self) -> None:
        if (self.student_config is None) == (self.student_pretrained_weights is None):
            raise InputError("one of --student-pretrained-weights and --student-config is needed, not both")
        super().__post_init__()
        if not self.warmup_prop <= 1:
            raise InputError(f"--warmup-prop is a share of the steps: at most 1, not {self.warmup_prop}")
        taught = self.alpha_ce or self.alpha_mse or self.alpha_cos
        if taught and self.teacher_name is None:
            raise InputError("--teacher-name is needed where --alpha-ce, --alpha-mse or --alpha-cos is above 0")

    def loss(self, student: Config) -> TripleLoss:
        """What a student of this config minimises. Raises InputError for the objective of another family."""
        own, other = ("clm", "mlm") if student.causal else ("mlm", "clm")
        flags = {f"--alpha-{other}": getattr(self, f"alpha_{other}") not in (0, HARD), "--mlm": self.mlm}
        for flag in [flag for flag, given in flags.items() if given and (student.causal or flag != "--mlm")]:
            learns = "the next word" if student.causal else "masked words"
            raise InputError(f"{flag}: the student is a {student.model_type} and learns {learns}: use --alpha-{own}")
        shares = {one.name: getattr(self, one.name) for one in fields(Shares)}
        if student.causal:
            shares |= {"alpha_clm": self.alpha_clm, "alpha_mlm": 0.0, "restrict_ce_to_mask": False}
        loss = TripleLoss(**shares)
        if not loss.alphas:
            raise InputError(
                f"--alpha-ce, --alpha-{own}, --alpha-mse and --alpha-cos are all 0: nothing would be learned"
            )
        return loss


def load_student(options: Options) -> Speaker:
    """The student as it begins, in float32 or float64."""
    place = how_to_load(options.backend, options.dtype, options.threads)
    if options.student_pretrained_weights is not None:
        name = options.student_pretrained_weights
        student: Speaker = load_pretrained(lambda config: student_class(config, name), name, **place)
        return student
    assert options.student_config is not None
    values = read_json(Path(options.student_config), FOR_CONFIG)
    made = student_class(values, options.student_config)
    student = made(made.config_class.from_dict(values), seed=options.seed, **place)
    return student


def student_class(config: dict[str, Any], name: str) -> type[Speaker]:
    """The class for a parsed config.json. Raises CheckpointError for a family that is not known."""
    family = family_of(config, name)
    made: type[Speaker] = class_of(family, speaking(family))
    return made


def load_teacher(options: Options, folder: Path) -> Speaker:
    """The teacher. Raises InputError where it cannot teach, and as from_pretrained."""
    backend, dtype = backends.choose(options.backend, options.dtype)
    values = read_json(folder / "config.json", FOR_CONFIG)
    says_nothing = options.teacher_type is not None and not values.get("model_type")
    kind = options.teacher_type if says_nothing else family_of(values, options.teacher_name)
    assert kind is not None
    if options.teacher_type not in (None, kind):
        raise InputError(f"--teacher-type {options.teacher_type}: {options.teacher_name} is a {kind}")
    teacher: Speaker = load_whole(speaking(kind), str(options.teacher_name), folder, backend, dtype, kind)
    return teacher


def check_pair(options: Options, student: Config, teacher: Config) -> None:
    """Raises InputError where teacher and student do not fit each other: upstream's sanity_checks."""
    if student.model_type not in TEACHERS[teacher.model_type]:
        raise InputError(
            f"the student is a {student.model_type} and the teacher a {teacher.model_type}, which teaches "
            f"a {' or a '.join(TEACHERS[teacher.model_type])}: their positions are counted otherwise"
        )
    pairs = {
        "vocab_size": (student.vocab_size, teacher.vocab_size),
        "max_position_embeddings": (student.max_position_embeddings, teacher.max_position_embeddings),
    }
    if options.alpha_cos > 0:
        pairs["dim"] = student.dim, teacher.dim
    for name, (mine, theirs) in pairs.items():
        if mine != theirs:
            more = "; with --alpha-cos 0 they may differ" if name == "dim" else ""
            raise InputError(f"the student's {name} is {mine} and the teacher's {theirs}: they must be the same{more}")


def find_tokenizer(options: Options, vocabulary: str) -> Tokenizer:
    """The tokenizer the data was made with, from where one may be: it is saved with the student.

    Raises InputError where there is none, or it is another than the data set's.
    """
    beside = None if options.student_config is None else str(Path(options.student_config).parent)
    for name in (options.tokenizer_name, options.student_pretrained_weights, beside, options.teacher_name):
        if name is None:
            continue
        try:
            tokenizer = AutoTokenizer.from_pretrained(name)
        except ModelNotFoundError:
            if name == options.tokenizer_name:
                raise
            continue
        if fingerprint(tokenizer) != vocabulary:
            raise InputError(f"{options.data_file} was made with another tokenizer than {name}'s: binarize it anew")
        return tokenizer
    raise InputError("no tokenizer is with the student or the teacher: --tokenizer-name says where one is")


def longest(options: Options, config: Config) -> int:
    """How many tokens a sequence may have. Raises InputError for more than the student has positions."""
    most = config.max_tokens
    if options.max_length is not None and options.max_length > most:
        raise InputError(f"--max-length {options.max_length} is more than the student's {most} positions")
    shown = options.max_length or most
    if shown < most and options.student_config is not None and not config.sinusoidal_pos_embds:
        warnings.warn(
            f"note: of the student's {most} positions those beyond --max-length {shown} learn nothing, so it will be "
            "bad at longer texts",
            stacklevel=2,
        )
    return shown


def make_masking(options: Options, index: Index, vocab_size: int) -> Masking:
    """How words are masked. Raises InputError for counts of another vocabulary, and for shares that cannot be."""
    if index.mask_id is None:
        raise InputError(f"{options.data_file}: its tokenizer has no mask token, so nothing can be masked")
    if options.token_counts is None:
        counts = token_counts(options.data_file, vocab_size)
    else:
        counts = read_token_counts(options.token_counts)
        if len(counts) != vocab_size:
            raise InputError(f"{options.token_counts}: has {len(counts)} counts, the student {vocab_size} words")
    return Masking(
        counts,
        special_ids=index.special_ids,
        mask_id=index.mask_id,
        **{one.name: getattr(options, one.name) for one in fields(MaskingShares)},
        words=np.arange(index.vocab_size) if index.vocab_size < vocab_size else None,
    )


def make_plan(options: Options, each: int, losses: tuple[str, ...]) -> Plan:
    """Steps and learning rates, from how many micro-batches an epoch has."""
    accumulation = options.gradient_accumulation_steps
    if options.max_steps is None:
        batches, total = each * options.n_epoch, planned_steps(each, accumulation, options.n_epoch)
    else:
        batches, total = options.max_steps * accumulation, options.max_steps + 1
    warmup = warmup_steps(total, options.warmup_prop)
    return Plan(
        batches,
        lambda step: options.learning_rate * linear(step, warmup, total),
        accumulation,
        options.max_grad_norm,
        options.seed,
        losses,
        options.log_interval,
        options.checkpoint_interval,
        options.checkpoint_minutes,
    )


def distill(options: Options, **course: Unpack[Course]) -> Speaker:
    """Train a student into options.dump_path, from where its run stands, and give it back. course: see options.py.

    Raises InputError, CheckpointError or ModelNotFoundError for what does not exist, does not fit or cannot be.
    """
    everyone = course.get("communicator") or Single()
    placed = replace(options, backend=everyone.placed(options.backend))
    student = load_student(placed)
    config, teacher, taught_by = student.config, None, None
    if options.student_type not in (None, config.model_type):
        raise InputError(f"--student-type {options.student_type}: the student is a {config.model_type}")
    loss = options.loss(config)
    sequences = Sequences(options.data_file, longest(options, config))
    index = sequences.index
    tokenizer = find_tokenizer(options, index.vocabulary)
    masking = None if config.causal else make_masking(options, index, config.vocab_size)
    if loss.teaches:
        folder = resolve(str(options.teacher_name), need="model")
        teacher = load_teacher(placed, folder)
        taught_by = checksum(folder)
        check_pair(options, config, teacher.config)
        check_words(str(options.teacher_name), tokenizer)
    trainee = Trainee(
        student,
        checkpointing=options.gradient_checkpointing,
        dtype=options.dtype,
        frozen={POSITIONS} if options.freeze_pos_embs else (),
    )
    optimizer = AdamW(trainee, trainee.bops, betas=BETAS, eps=options.adam_epsilon, weight_decay=options.weight_decay)
    idle = ("mlm", "alpha_mlm" if config.causal else "alpha_clm")  # these decide nothing
    settings = {name: value for name, value in asdict(options).items() if name not in idle} | {
        "backend": options.backend or student.backend,
        "dtype": student.dtype,
        "processes": everyone.size,
        "data": {"checksum": index.checksum, "sequences": len(sequences), "vocabulary": index.vocabulary},
        "masking": masking and crc32(masking.weights.tobytes()),
        "student": config.to_dict(),
        "teacher_checksum": taught_by,
        "made_with": made_with(student.backend),
    }
    run = Run(options.dump_path, settings, free=FREE, writes=everyone.rank == 0, **begun(course))
    if everyone.rank == 0 and (sequences.split or sequences.short or sequences.unknown):
        warnings.warn(f"note: {sequences}", stacklevel=2)

    def step(items: Ints, key: int, scale: float) -> Worked:
        batch = sequences.batch(items)  # N tokens
        if masking is None:
            batch = with_positions(batch, config)
            words = next_words(batch)
            return Worked(loss.of_batch(trainee, teacher, batch, words, key=key, scale=scale), len(batch.ids))
        masked = masking(batch.ids, key)
        if not len(masked.rows):
            raise InputError(f"{options.data_file}: a batch has no token that can be masked, only special ones")
        batch = with_positions(batch._replace(ids=masked.ids), config)  # student and teacher see the same
        return Worked(loss.of_batch(trainee, teacher, batch, masked.labels, key=key, scale=scale), len(batch.ids))

    def save(folder: Path) -> None:
        student.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    train(
        trainee,
        optimizer,
        step,
        epochs(
            sequences.lengths,
            options.batch_size,
            options.seed,
            group_by_size=options.group_by_size,
            max_length=sequences.max_length,
        ),
        make_plan(options, -(-len(sequences) // options.batch_size), loss.names),
        run,
        dtype=student.dtype,
        communicator=everyone,
        on_step=course.get("on_step"),
        on_log=watch(trainee, run) if (watch := course.get("watch")) else None,
        on_epoch=(lambda number: save(run.folder / f"{EPOCH}{number}")) if options.save_epochs else None,
    )
    if everyone.rank == 0:
        save(run.folder)
    return student
