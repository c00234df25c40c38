import platform


def lambda_handler(event, context):
    print("called with", event)
    return {
        "message": f"Hello, {event.get('name', 'world')}!",
        "runtime": f"Python {platform.python_version()}",
        "memory": context.memory_limit_in_mb,
    }
