"""Recorded answers of people: a folder of append-only files, one per annotator.

::

    DIR/TASK/questions.json        what is asked: data set, model, and per question its id and the hash of what is shown
    DIR/TASK/SLUG.jsonl            one annotator's answers and undos, a line each, in the order in which they were given
    DIR/masks/files/SLUG/SHA.png   the masks that were painted

A line counts once its newline is on the disk. What comes after the last newline is torn: a writer was killed, or the
disk was full, before it acknowledged that answer. Opening the file for writing sets it aside. Skipped, maybe and never
asked are three different things: ``"skip"``, ``"maybe"``, and no answer at all.

Reading changes nothing. What is read is checked here, and refused by a UserError that names file and line.
"""
