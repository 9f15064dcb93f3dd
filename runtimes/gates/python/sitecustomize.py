# The gate of Python: imported by `site` near the end of the interpreter's start. PYTHONPATH brings it in. It takes itself back,
# hands over to the system's own sitecustomize, and leaves a hook by which it is asked once more, before the interpreter looks
# for its program.
def early_end(sys, get_objects, unfreeze):
    # The interpreter's end takes everything apart, which copies most of what a fork shares with its template. What a program
    # can see of that is over when its streams go; if it ended well, so does the process then. If nothing that it made has an
    # end which somebody hears of, there is nothing to see at all.
    import atexit
    from io import TextIOWrapper
    from os import _exit
    from _weakref import ref

    modules, ending, streams, names = sys.modules, sys.is_finalizing, [], {*vars(sys)}
    # Past what a program's metaclasses may say.
    ancestors, attributes = vars(type)["__mro__"].__get__, vars(type)["__dict__"].__get__
    del modules["atexit"]

    def is_quiet():
        # What was there before is frozen, and not among them. Files, generators and the like have a `__del__` too.
        new = get_objects()
        if len(new) > 10000:
            return False
        kinds, meta = {id(kind): kind for kind in map(type, new)}, set()
        for key, kind in kinds.items():
            for ancestor in ancestors(kind):
                if "__del__" in attributes(ancestor) or ancestor is ref and kind is not ref:
                    return False
                if ancestor is type:
                    meta.add(key)
        for one in new:
            # An object of a class with empty slots is not among them, but the class is.
            if type(one) is ref and one.__callback__ or id(type(one)) in meta and "__del__" in attributes(one):
                return False
        return True

    def is_over():
        # After a program that reached its end its file's name is taken back; `sys.exit` and errors leave other traces.
        main = vars(modules["__main__"]).keys()
        well = main >= {"__name__", "__loader__", "__spec__"} and not main & {"__file__", "__cached__"}
        # What could hold something that is heard of later than its streams' end.
        later = vars(sys).keys() - names or modules.keys() & {"contextvars", "_contextvars", "signal", "threading"}
        return well and not later and not hasattr(sys, "last_type") and not sys.gettrace() and not sys.getprofile()

    def look():
        try:
            both, quiet = (sys.stdout, sys.stderr), is_quiet()
            if not quiet:
                # What is frozen is taken apart as well, and may hold what has an end that is heard of.
                unfreeze()
            if is_over() and all(type(stream) is TextIOWrapper for stream in both):
                for stream in both:
                    stream.flush()
                if quiet:
                    _exit(0x43524E4B)
                streams.extend([ref(stream, gone) for stream in both])
        except BaseException:
            # Whatever it is, the interpreter's own end meets it again, and says so.
            pass

    def gone(_):
        if ending() and not any(stream() for stream in streams):
            _exit(0x43524E4B)

    # In a cycle, so that what is frozen holds it.
    held = [streams]
    held.append(held)
    return held, lambda: atexit.register(look)


def gate():
    import gc, os, sys

    own = sys.path.pop(0)
    sys.path_importer_cache.pop(own, None)
    rest = os.environ.pop("PYTHONPATH").partition(":")[2]
    if rest:
        os.environ["PYTHONPATH"] = rest
    del sys.modules["sitecustomize"], sys.modules["gc"]
    program = os.path.abspath(sys.argv[0])

    def hook(path):
        # Of everything that can be a program's place each hook is asked whether it is one that it knows. The interpreter asks
        # about its program when all else is done. The last one may go while it is asked.
        if path == program:
            if sys.path_hooks.pop() is not hook:
                os._exit(70)
            wait(gc, os, sys)
        raise ImportError

    sys.path_hooks.append(hook)
    try:
        import sitecustomize
    except Exception as error:
        # There is none, or it fails: `site` is to see that.
        return error.with_traceback(None)


def wait(gc, os, sys):
    # Brings in the pages of the compiler and of what runs a program, which come next.
    exec(compile("def f(a):\n return [x for x in a]\nf('')\nprint(end='')", "", "exec"), {})
    # What lives now is neither looked at nor copied by a collection, of which the end of a run is one. All but the names
    # of the program: what they refer to would never be collected. A dict that is empty in a collection leaves the
    # collector's books, and comes back to them as a young one.
    names = sys.modules["__main__"].__dict__
    items = dict(names)
    held, in_fork = early_end(sys, gc.get_objects, gc.unfreeze)
    names.clear()
    gc.collect()
    gc.freeze()
    names.update(items)
    try:
        os.write(63, b"R")
        while (message := os.read(63, 1)) == b"F":
            try:
                child = os.fork()
            except OSError:
                continue
            if child == 0:
                in_fork()
                os.write(63, b"R")
        if message != b"G":
            os._exit(0)
        os.close(63)
    except OSError:
        os._exit(70)


outcome = gate()
if outcome is not None:
    raise outcome
