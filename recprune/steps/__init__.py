"""The steps of a day, a module each: read, one pure call, write. They meet in files only."""
