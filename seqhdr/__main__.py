"""``python -m seqhdr``, which is what ``torchrun -m seqhdr train ...`` starts."""

from seqhdr.cli import main

if __name__ == "__main__":
    main()
