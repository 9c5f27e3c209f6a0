def preference():
    return {}, True
