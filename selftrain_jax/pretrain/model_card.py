"""Where imported weights are from, what they expect and how good they were; call `make_card`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from selftrain_jax.io import hash_file
from selftrain_jax.pretrain.catalogue import published_accuracy
from selftrain_jax.pretrain.importers import Imported
from selftrain_jax.pretrain.input_normalization import NORMALIZATIONS, OURS
from selftrain_jax.run_files.model_card import ModelCard, Preprocessing


def make_card(
    imported: Imported,
    *,
    source: Path,
    files: Sequence[Path],
    kind: str,
    network: str,
    ema: bool,
    variables_sha256: str,
    versions: Mapping[str, str],
) -> ModelCard:
    """Return all that is known of imported weights."""
    found = imported.preprocessing
    expected = OURS if found.folded else NORMALIZATIONS[found.input_rule]
    return ModelCard(
        source=str(source.absolute()),
        sha256={file.name: hash_file(file) for file in files},
        kind=kind,
        network=network,
        weights="moving averages" if ema else "as saved",
        published_accuracy=published_accuracy(source.absolute().as_posix(), network),
        preprocessing=Preprocessing(
            input_rule_of_source=found.input_rule,
            stem_folded=found.folded,
            mean_of_x_over_255=tuple(expected.mean),
            deviation_of_x_over_255=tuple(expected.deviation),
            image_border="as if the source's image were framed in our mean colour"
            if found.folded
            else "as source",
        ),
        bn_epsilon_of_source=found.bn_epsilon,
        pool_padding_of_source=found.pool_padding,
        num_imported=len(imported.report.imported),
        num_ignored=len(imported.report.ignored),
        variables_sha256=variables_sha256,
        versions=versions,
    )
