"""What a code means: colour spaces as curves and matrices, and the bins that codes stand for."""
