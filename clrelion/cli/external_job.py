"""Arguments as RELION's *External* job type passes them.

RELION runs ``EXE --o External/job007/ --in_parts particles.star --in_3dref ref.mrc --in_mask
mask.mrc --LABEL VALUE ... --j N OTHERS --pipeline_control External/job007/``, and knows nothing of
the program but its name.
"""

from collections.abc import Mapping, Sequence

from clrelion.errors import OptionsError

REFINE_INPUTS: dict[str, str] = {"in_parts": "i", "in_3dref": "ref", "in_mask": "solvent_mask"}
"""Input fields of the job's window that a refinement takes, and their names here."""

POSTPROCESS_INPUTS: dict[str, str] = {"in_mask": "mask"}

_OTHER_INPUTS = ("in_movies", "in_mov", "in_mics", "in_mic", "in_coords", "in_parts", "in_3dref")


def own_arguments(
    arguments: Sequence[str], inputs: Mapping[str, str], default_name: str
) -> list[str]:
    """Translate the arguments of an External job; others stay as they are.

    Parameters
    ----------
    arguments
        Without the program's name.
    inputs
        External job's name of an input -> our flag.
    default_name
        Root of the file names in a folder: ``--o DIR/`` becomes ``--o DIR/<default_name>``.

    Returns
    -------
    list of str

    Raises
    ------
    OptionsError
        An input of the job's window that this program does not take.
    """
    translated: list[str] = []
    for word in arguments:
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in inputs:
            word = f"--{inputs[name]}{equals}{value}"
        elif word.startswith("--") and name in _OTHER_INPUTS:
            taken = ", ".join(f"--{one}" for one in inputs)
            raise OptionsError(f"--{name}: this job has no use for it; it takes {taken}")
        follows_root = bool(translated) and translated[-1] == "--o"
        if word.endswith("/") and (follows_root or word.startswith("--o=")):
            word += default_name
        translated.append(word)
    return translated
