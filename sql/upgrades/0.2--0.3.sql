-- From 0.2 to 0.3: what changes in what users have stored. The Makefile adds the parts of the install script whose
-- functions and views take the place of the old ones. A function whose arguments or result change is dropped here first.

SET LOCAL search_path = pg_catalog, pg_temp;
