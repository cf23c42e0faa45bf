"""Weights from the Hugging Face hub, through its own client and cache: `fetch_from_hub`."""

from pathlib import Path

from selftrain_jax.errors import InputError
from selftrain_jax.io import hash_file
from selftrain_jax.pretrain.catalogue import HUB_FILE, Weights, hub_endpoint
from selftrain_jax.pretrain.fetched import BrokenOffError, Fetched, UnreachableError, brief, check_room

SHA256_LETTERS = 64


def fetch_from_hub(weights: Weights, folder: Path) -> Fetched:
    """Return the file of a repo, at its pinned or newest revision, from the hub or the hub client's cache.

    `folder` is where it will be converted. A connection that breaks is resumed by the client.

    Raises:
        UnreachableError: the hub cannot be reached, or has no such file, and the cache has none.
        InputError: the download broke off for good, is not what the hub announced, or the disk is too small.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HTTPError  # of the client's own library for HTTP

    endpoint = hub_endpoint()
    url = hf_hub_url(weights.repo, HUB_FILE, revision=weights.revision, endpoint=endpoint)
    try:
        found = get_hf_file_metadata(url, endpoint=endpoint)
    except (OSError, HTTPError) as error:
        return _take_from_cache(weights, error)
    if found.commit_hash is None or found.etag is None:
        return _take_from_cache(weights, OSError("what answered is not a hub; HF_ENDPOINT or a proxy?"))
    for place in (folder, Path(constants.HF_HUB_CACHE)):
        check_room(found.size, place)
    path = _download(weights)
    digest = hash_file(path)
    if len(found.etag) == SHA256_LETTERS and found.etag != digest:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise InputError(
            f"{weights.name}: {HUB_FILE} of {weights.repo} has the SHA-256 {digest}, and the hub announced "
            f"{found.etag}; the file was damaged on the way and is deleted. Run the same command again"
        )
    return Fetched(path, {HUB_FILE: digest}, url, path.parent.name)  # a folder for each commit


def _download(weights: Weights) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError

    try:
        file = hf_hub_download(weights.repo, HUB_FILE, revision=weights.revision, endpoint=hub_endpoint())
        return Path(file)
    except (OSError, HTTPError) as error:
        raise BrokenOffError(
            f"{weights.name}: the download from {hub_endpoint()} broke off ({brief(error)}). Run the same "
            "command again"
        ) from error


def _take_from_cache(weights: Weights, error: Exception) -> Fetched:
    """Return what the client's cache holds of a repo that cannot be reached, by whatever program."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(weights.repo, HUB_FILE, revision=weights.revision)
    if not isinstance(path, str):
        raise UnreachableError(
            f"{weights.name}: {HUB_FILE} of {weights.repo} cannot be had from {hub_endpoint()} "
            f"({brief(error)})"
        ) from error
    file = Path(path)
    return Fetched(file, {HUB_FILE: hash_file(file)}, weights.addresses[0], file.parent.name)
