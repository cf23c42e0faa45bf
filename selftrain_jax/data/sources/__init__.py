"""One reader a data set's form, each giving a `Source`."""
